"""An old dqmsquare_mirror.cfg -> keys of [dqm]: each old key becomes something, or it is said why not."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dmtools.dqm.cfg import old_keys as old
from dmtools.dqm.cfg.old_file import Option
from dmtools.dqm.places import is_site
from dmtools.settings.dqm import Dqm
from dmtools.settings.problems import diagnose

_BEGINS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")  # a URL


@dataclass(frozen=True)
class Told:
    """What became of an old key. `becomes`: keys of [dqm]; `wrong`: nothing, though something was meant."""

    key: str
    text: str
    becomes: tuple[str, ...]
    why: str
    wrong: bool = False


@dataclass
class Conversion:
    """The keys of [dqm] that follow from an old file, and the account. `place`: the file's directory, for its relative paths."""

    place: Path
    values: dict[str, Any] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)

    def take(self, option: Option, values: dict[str, Any], why: str = "") -> None:
        """Sets the keys, when their values are allowed."""
        why = "; ".join(filter(None, (why, option.note)))
        if problems := diagnose({"dqm": values}):
            self.wrong(option, f"{'.'.join(map(str, problems[0][0]))} {problems[0][1]}")
            return
        self.values |= values
        self.told.append(Told(option.key, option.text, tuple(values), why))

    def nothing(self, option: Option, why: str) -> None:
        """It has no counterpart, and needs none."""
        self.told.append(Told(option.key, option.text, (), "; ".join(filter(None, (why, option.note)))))

    def wrong(self, option: Option, why: str) -> None:
        """It can't be taken over."""
        self.told.append(Told(option.key, option.text, (), why, wrong=True))


def convert(options: Iterable[Option], place: Path) -> Conversion:
    """Reads nothing but whether named programs are there."""
    found = Conversion(place)
    known = {option.key: option for option in options}
    for option in known.values():
        _way(option.key)(found, option, known)
    if found.values.get("old_runs") and _says_no(known):
        found.values["old_runs"] = 0
    return found


def _way(key: str) -> Callable[[Conversion, Option, dict[str, Option]], None]:
    ways = {old.SITES: _sites, old.PATHS: _paths, old.BACKEND: _backend, old.PREFIX: _prefix, old.CLEAN: _clean}
    ways |= (
        dict.fromkeys(old.NUMBERS, _number) | dict.fromkeys(old.PROGRAMS, _program) | dict.fromkeys(old.NO_OLD_RUNS, _old_runs)
    )
    ways |= dict.fromkeys(old.NOTHING, lambda found, option, _: found.nothing(option, old.NOTHING[option.key]))
    return ways.get(key, _unknown)


def _unknown(found: Conversion, option: Option, _: dict[str, Option]) -> None:
    near = get_close_matches(option.key, old.KNOWN, n=1)
    hint = f"; did it mean {near[0]}? Then write it so, and convert again" if near else ""
    found.wrong(option, f"the original knew no such key and passed over it{hint}")


def _number(found: Conversion, option: Option, _: dict[str, Option]) -> None:
    key, factor, why = old.NUMBERS[option.key]
    try:
        value = float(option.text) * factor
    except ValueError:
        found.wrong(option, "is no number")
        return
    if option.key == "FIREFOX_RELOAD_NITERS" and value == 0:
        found.nothing(option, "a browser that is never started anew is not wanted here: browser_grabs stays as it is")
        return
    whole = not isinstance(getattr(Dqm(), key), float)
    found.take(option, {key: round(value) if whole and abs(value) < 1e15 else round(value, 6)}, why)


def _program(found: Conversion, option: Option, _: dict[str, Option]) -> None:
    path = (found.place / Path(option.text.strip()).expanduser()).absolute()
    if not option.text.strip():
        found.nothing(option, "empty: the program is looked for where Debian has it")
    elif path.is_file() and os.access(path, os.X_OK):
        found.take(option, {old.PROGRAMS[option.key]: str(path), "browser": "firefox"}, "the original drove a Firefox")
    else:
        found.nothing(option, f"there is no program {path}: browser and driver are looked for where Debian has them")


def _old_runs(found: Conversion, option: Option, _: dict[str, Option]) -> None:
    if _is_no(option):
        found.take(option, {"old_runs": 0}, "no old runs")
    else:
        found.nothing(option, "old runs are grabbed; old_runs says how many")


def _is_no(option: Option) -> bool:
    return option.text.strip() == "False"


def _says_no(known: dict[str, Option]) -> bool:
    return any(key in known and _is_no(known[key]) for key in old.NO_OLD_RUNS)


def _clean(found: Conversion, option: Option, _: dict[str, Option]) -> None:
    found.nothing(option, "old files are always removed, never the newest" + (", though this said no" if _is_no(option) else ""))


def _backend(found: Conversion, option: Option, _: dict[str, Option]) -> None:
    if option.text.strip().lower() == "selenium":
        found.take(option, {"backend": "browser"})
    else:
        found.nothing(option, 'what it got was only printed; here it is backend = "browser", or "http" where the page has JSON')


def _prefix(found: Conversion, option: Option, _: dict[str, Option]) -> None:
    text = option.text.strip().strip("/")
    found.take(option, {"prefix": f"/{text}" if text else ""})


def _paths(found: Conversion, option: Option, known: dict[str, Option]) -> None:
    if old.SITES in known:
        found.nothing(option, "its last words are the names of the sites")
    else:
        found.nothing(option, "it names files of sites, and the old file names no ROBBER_TARGET_SITES")


def _sites(found: Conversion, option: Option, known: dict[str, Option]) -> None:
    urls, why = _urls(option.text)
    paths = _list(known[old.PATHS].text) if old.PATHS in known else []
    if paths and len(paths) != len(urls):
        why.append(f"ROBBER_OUTPUT_PATHS has {len(paths)} entries, and the original ended there")
    sites = [{"name": name, "url": url} for name, url in zip(names_of(paths, len(urls)), urls, strict=True)]
    found.take(option, {"sites": sites}, "; ".join(why))


def _urls(text: str) -> tuple[list[str], list[str]]:
    """A part that begins with no scheme is the rest of the URL before it."""
    urls: list[str] = []
    cut = False
    for part in text.split(","):
        if urls and part.strip() and not _BEGINS.match(part.strip()):
            urls[-1] += f",{part.strip()}"
            cut = True
        elif part.strip():
            urls.append(part.strip())
    return urls, ["a comma stands in a URL, where the original saw two pages"] if cut else []


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def names_of(paths: list[str], count: int) -> list[str]:
    """The last word of each path; where that is no name, or comes twice, `site-2` by its place."""
    usual = ("production", "playback")
    names: list[str] = []
    for number in range(count):
        name = paths[number].rpartition("/")[2].rpartition("_")[2].lower() if number < len(paths) else ""
        if not is_site(name) and number < len(usual) and not paths:
            name = usual[number]
        names.append(name if is_site(name) and name not in names else f"site-{number + 1}")
    return names


def record(one: Told) -> dict[str, Any]:
    """For --json."""
    return {"key": one.key, "value": one.text, "becomes": list(one.becomes), "why": one.why, "taken": not one.wrong}
