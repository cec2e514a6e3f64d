"""What types can't say of [datalogger]: the address, the time zone, a day, devices that come twice."""

from __future__ import annotations

import re
from datetime import date

from dmtools.settings import addresses, catalogues_checks
from dmtools.settings.datalogger import Datalogger
from dmtools.settings.lines import Place

SIMULATED = "sim:datalogger"
Found = list[tuple[Place, str]]


def check(found: Datalogger) -> Found:
    """The problems of the section that was converted."""
    said: Found = []
    if problem := _url(found.url):
        said.append((("url",), problem))
    if problem := _zone(found.timezone):
        said.append((("timezone",), problem))
    if problem := _day(found.since):
        said.append((("since",), problem))
    seen: dict[str, int] = {}
    for number, device in enumerate(found.devices):
        if device.name in seen:
            text = f"{device.name!r} is entry {seen[device.name] + 1} already; a device has one table, whichever node logs it"
            said.append((("devices", number, "name"), text))
        seen.setdefault(device.name, number)
    if not found.devices and not found.paramfile:
        said.append((("devices",), "names no device; leave the key out for those of the simulator"))
    return said + catalogues_checks.check(found.catalogues, found.rucio, found.metacat)


def _url(url: str) -> str:
    if url.startswith("sim:"):
        return "" if url == SIMULATED else f"there is no simulated logger {url!r}; it is {SIMULATED}"
    if re.search(r"[\s\x00-\x1f\x7f?#]", url):
        return f"{url!r} holds a blank, a ? or a #; write the page alone, http://HOST/cgi-bin/acl.pl"
    none = f"is no ACL page; it is http://HOST/cgi-bin/acl.pl or {SIMULATED}"
    return addresses.problem(url, none, "holds a user name or password; the logger takes none", page=True)


def _zone(name: str) -> str:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return f"there is no time zone {name!r}; write a name like America/Chicago"
    return ""


def _day(text: str) -> str:
    try:
        date.fromisoformat(text or "2000-01-01")
    except ValueError:
        return f"{text!r} is no day; write YYYY-MM-DD"
    return ""
