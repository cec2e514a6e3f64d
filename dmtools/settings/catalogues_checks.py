"""What types can't say of the catalogues: those that lack what they need, patterns, addresses."""

from __future__ import annotations

import re
from difflib import get_close_matches
from urllib.parse import urlsplit

from dmtools.settings import addresses
from dmtools.settings.catalogues import NAMES, Metacat, Rucio
from dmtools.settings.lines import Place

SIMULATED = "sim:metacat"
PLACEHOLDERS = ("kind", "month", "year")
Found = list[tuple[Place, str]]


def check(catalogues: tuple[str, ...], rucio: Rucio, metacat: Metacat) -> Found:
    """The problems of [datalogger] catalogues, [datalogger.rucio] and [datalogger.metacat]."""
    found = _names(catalogues)
    found += [(("rucio", *place), text) for place, text in _rucio(rucio, used="rucio" in catalogues)]
    return found + [(("metacat", *place), text) for place, text in _metacat(metacat, used="metacat" in catalogues)]


def _names(catalogues: tuple[str, ...]) -> Found:
    found: Found = []
    for number, name in enumerate(catalogues):
        place = ("catalogues", number)
        if name not in NAMES:
            near = get_close_matches(name, NAMES, n=1)
            means = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(NAMES)}"
            found.append((place, f"there is no catalogue {name!r}{means}"))
        elif name in catalogues[:number]:
            found.append((place, f"{name!r} is there already"))
    return found


def _rucio(rucio: Rucio, *, used: bool) -> Found:
    found: Found = []
    if used and not rucio.rse:
        found.append(((), "lacks rse: the name of the storage element that has the files, as Rucio calls it"))
    if rucio.pfn:
        found += [(("pfn",), text) for text in _pfn(rucio.pfn)]
    if re.search(r"[\s\x00-\x1f\x7f]", rucio.rule):
        found.append((("rule",), f"{rucio.rule!r} holds a blank; an RSE expression has none"))
    return found + [(("dataset",), text) for text in _pattern(rucio.dataset)]


def _pfn(pfn: str) -> list[str]:
    scheme, colon, rest = pfn.partition("://")
    if not colon or not scheme.isalnum() or not rest or re.search(r"[\s\x00-\x1f\x7f]", pfn):
        return [f"{pfn!r} is no place of a file; write it as root://HOST//PATH/{{name}}"]
    if re.findall(r"\{([^{}]*)\}", pfn) != ["name"] or re.search(r"[{}]", pfn.replace("{name}", "")):
        return [f"{pfn!r} must hold {{name}} once, and no other brace: with one place for all files they would be one"]
    return []


def _metacat(metacat: Metacat, *, used: bool) -> Found:
    found: Found = [(("dataset",), text) for text in _pattern(metacat.dataset)]
    if used and not metacat.url:
        found.append(((), f"lacks url: the address of the server, https://HOST:PORT/PATH, or {SIMULATED}"))
    if metacat.url and (problem := _url(metacat.url)):
        found.append((("url",), problem))
    if used and metacat.url and metacat.url != SIMULATED and not metacat.token_file:
        found.append(((), "lacks token_file: without a token MetaCat takes no file"))
    return found


def _url(url: str) -> str:
    if url.startswith("sim:"):
        return "" if url == SIMULATED else f"there is no simulated MetaCat {url!r}; it is {SIMULATED}"
    if re.search(r"[\s\x00-\x1f\x7f?#]", url):
        return f"{url!r} holds a blank, a ? or a #; write the address alone, https://HOST:PORT/PATH"
    none = f"is no address of a MetaCat; it is https://HOST:PORT/PATH or {SIMULATED}"
    if problem := addresses.problem(url, none, "holds a user name or password; MetaCat takes a token: token_file"):
        return problem
    parts = urlsplit(url)
    clear = parts.scheme == "http" and parts.hostname not in addresses.LOOPBACK
    return "is not encrypted, so the token would travel in clear: write https://" if clear else ""


def _pattern(pattern: str) -> list[str]:
    wrong = [name for name in re.findall(r"\{([^{}]*)\}", pattern) if name not in PLACEHOLDERS]
    if wrong:
        return [f"{pattern!r}: there is no {{{wrong[0]}}}; there are {', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}"]
    if re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", pattern)):
        return [f"{pattern!r} holds a brace without its other one"]
    return []
