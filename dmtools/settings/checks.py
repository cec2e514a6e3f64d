"""What types can't say: URLs, names that come twice, weights, times. Each problem is a place in the file and a sentence."""

from __future__ import annotations

import re
from difflib import get_close_matches
from urllib.parse import urlsplit

from dmtools import clock
from dmtools.names import NameRefused, file_path
from dmtools.settings import datalogger_checks, dqm_checks
from dmtools.settings.datalogger import Datalogger
from dmtools.settings.dqm import Dqm
from dmtools.settings.kinds import Control, Daq, Database, Fts, Migrate, Outage, Server
from dmtools.settings.lines import Place

SCHEMES = ("file", "root", "roots", "xroot", "xroots", "srm", "gsiftp", "https", "http", "davs", "dav", "s3", "s3s")
FTS_SIMULATORS = ("fts1", "fts2")
PLACEHOLDERS = ("path", "YYMM", "YYMMDD")
DATABASES = ("sqlite", "mysql+pymysql", "mariadb+pymysql")
Found = list[tuple[Place, str]]


def check(section: str, value: object) -> Found:
    """The problems of one section that was converted."""
    if isinstance(value, Fts):
        return [((section, *place), text) for place, text in _fts(value)]
    if isinstance(value, Migrate):
        return [((section, *place), text) for place, text in _migrate(value)]
    if isinstance(value, Daq):
        return [((section, *place), text) for place, text in _daq(value)]
    if isinstance(value, Datalogger):
        told = [((section, *place), text) for place, text in datalogger_checks.check(value)]
        problem = database(value.stats_url)
        return [*told, ((section, "stats_url"), problem)] if problem else told
    if isinstance(value, Dqm):
        return [((section, *place), text) for place, text in dqm_checks.check(value)]
    if isinstance(value, Database):
        problem = database(value.url)
        return [((section, "url"), problem)] if problem else []
    if isinstance(value, Control):
        return [((section, "calendar", n), text) for n, outage in enumerate(value.calendar) for text in _outage(outage)]
    return []


def near(word: str, known: object) -> str:
    """`; did you mean 'retry'?`, or nothing."""
    found = get_close_matches(word, [str(one) for one in known], n=1)  # type: ignore[attr-defined]
    return f"; did you mean {found[0]!r}?" if found else ""


def _fts(fts: Fts) -> Found:
    found: Found = []
    seen: dict[str, int] = {}
    if not fts.servers:
        found.append((("servers",), "names no server, so no job could go anywhere; leave the key out for the two simulators"))
    for number, server in enumerate(fts.servers):
        if server.name in seen:
            found.append((("servers", number, "name"), f"{server.name!r} is the name of entry {seen[server.name] + 1} already"))
        seen.setdefault(server.name, number)
        found += [(("servers", number, "url"), text) for text in _server_url(server)]
    if fts.servers and not any(server.weight for server in fts.servers):
        found.append((("servers",), "gives every server the weight 0, so no job could go anywhere"))
    return found


def _server_url(server: Server) -> list[str]:
    if server.url.startswith("sim:"):
        name = server.url[4:]
        if name in FTS_SIMULATORS:
            return []
        return [f"there is no FTS simulator {name!r}{near(name, FTS_SIMULATORS)}; they are sim:fts1 and sim:fts2"]
    problem = url_problem(server.url, ("https", "http"))
    if problem:
        return [f"{problem}; an FTS server is https://HOST:PORT or sim:fts1"]
    if "@" in urlsplit(server.url).netloc:
        return ["holds a password or user name; FTS takes a proxy or a token: see [credentials]"]
    return []


def url_problem(url: str, schemes: tuple[str, ...] = SCHEMES) -> str:
    """Why this is no URL that can be used, in a sentence; empty when it is one."""
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return f"{url!r} holds a blank or a control character; write a blank as %20"
    scheme, colon, rest = url.partition("://")
    if not colon:
        return f"{url!r} is no URL; it lacks SCHEME://"
    if scheme not in schemes:
        return f"{url!r} has the unknown scheme {scheme!r}{near(scheme, schemes)}"
    if scheme == "file":
        try:
            file_path(url)
        except NameRefused as problem:
            return f"{problem} (a local file is file:///PATH)"
        return ""
    try:
        host, port = urlsplit(url).hostname, urlsplit(url).port
    except ValueError as problem:
        return f"{url!r} is no URL: {problem}"
    if not host or port == 0:
        return f"{url!r} names no host"
    return f"{url!r} holds '..', which could lead out of its root" if ".." in rest.split("/") else ""


def _migrate(migrate: Migrate) -> Found:
    found: Found = []
    seen: dict[str, int] = {}
    for number, rule in enumerate(migrate.rules):
        place = ("rules", number)
        match = rule.match.rstrip("/") or "/"
        if match in seen:
            found.append(((*place, "match"), f"{rule.match!r} is matched by entry {seen[match] + 1} already"))
        seen.setdefault(match, number)
        if ".." in rule.match.split("/"):
            found.append(((*place, "match"), f"{rule.match!r} holds '..'"))
        for key in ("source", "destination"):
            if problem := url_problem(getattr(rule, key)):
                found.append(((*place, key), problem))
        start, _, end = rule.hours.partition("-")
        if rule.hours and start == end:
            found.append(((*place, "hours"), f"{rule.hours!r} never opens; leave it out to submit at any time"))
        if rule.source.rstrip("/") == rule.destination.rstrip("/"):
            found.append(((*place, "destination"), "is the same as source: a file can't be copied onto itself"))
    return found


def _daq(daq: Daq) -> Found:
    found: Found = _daq_disks(daq)
    for key in ("site", "tape", "zips"):
        if (url := getattr(daq, key)) and (problem := url_problem(url)):
            found.append(((key,), problem))
    site, tape, zips = (url.rstrip("/") for url in (daq.site, daq.tape, daq.zips))
    if site and site == tape:
        found.append((("tape",), "is the same as site: then a zip is on no tape, and both would go together"))
    if zips and zips == tape:
        found.append((("zips",), "is the same as tape: a zip can't be copied onto itself"))
    if daq.pattern.startswith("/") or ".." in daq.pattern.split("/"):
        found.append((("pattern",), f"{daq.pattern!r} begins with / or holds '..'; it is a path below a disk, as MIG_*/**"))
    return found + [(("lfn",), text) for text in _daq_lfn(daq.lfn)]


def _daq_disks(daq: Daq) -> Found:
    found: Found = []
    known: dict[str, int] = {}
    stores = {key: _below(getattr(daq, key)) for key in ("site", "tape", "zips")}
    for number, disk in enumerate(daq.disks):
        path = disk.rstrip("/") or "/"
        for other, first in known.items():
            if path == other:
                found.append((("disks", number), f"{disk!r} is entry {first + 1} already"))
            elif _is_inside(path, other) or _is_inside(other, path):
                found.append((("disks", number), f"{disk!r} and entry {first + 1}, {other!r}, lie one inside the other"))
        known.setdefault(path, number)
        for key, place in stores.items():
            if place and (path == place or _is_inside(path, place) or _is_inside(place, path)):
                found.append((("disks", number), f"{disk!r} and {key}, {place!r}, lie one inside the other"))
    return found


def _below(url: str) -> str:
    """The local path of a file:// URL; empty for others."""
    try:
        return file_path(url).decode("utf-8", "surrogateescape").rstrip("/")
    except NameRefused:
        return ""


def _is_inside(path: str, other: str) -> bool:
    return path.startswith(other.rstrip("/") + "/")


def _daq_lfn(lfn: str) -> list[str]:
    if not lfn.startswith("/") or ".." in lfn.split("/"):
        return [f"{lfn!r} must begin with / and not hold '..'"]
    names = re.findall(r"\{([^{}]*)\}", lfn)
    wrong = [name for name in names if name not in PLACEHOLDERS]
    if wrong:
        return [f"there is no {{{wrong[0]}}}{near(wrong[0], PLACEHOLDERS)}; there are {{path}}, {{YYMM}} and {{YYMMDD}}"]
    if re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", lfn)):
        return [f"{lfn!r} holds a brace that is no {{path}}, {{YYMM}} or {{YYMMDD}}"]
    if names.count("path") != 1:
        return [f"{lfn!r} must hold {{path}} once: without it many files would have one LFN"]
    return []


def database(url: str) -> str:
    """Why this is no database that can be used; empty when it is one, or when there is no URL at all."""
    scheme, colon, rest = url.partition("://")
    if url and (not colon or scheme not in DATABASES):
        step = "write sqlite:////ABSOLUTE/PATH or mysql+pymysql://USER@HOST/NAME"
        return f"{masked(url)!r} is no database this program knows{near(scheme, DATABASES)}; {step}"
    if scheme == "sqlite" and not rest.split("?")[0].startswith("//"):
        return f"{url!r} is not absolute, and cron starts commands elsewhere; write four slashes: sqlite:////PATH"
    if url and scheme != "sqlite" and not urlsplit(url).path.strip("/"):
        return f"{masked(url)!r} names no database; write mysql+pymysql://USER@HOST/NAME"
    return ""


def _outage(outage: Outage) -> list[str]:
    try:
        start, end = clock.parse_date(outage.start), clock.parse_date(outage.end)
    except ValueError as problem:
        return [str(problem)]
    return [] if start < end else [f"ends ({outage.end}) before it starts ({outage.start})"]


def masked(url: str) -> str:
    """A URL without its password."""
    return re.sub(r"(://[^/@:]*):.*@", r"\1:***@", url)
