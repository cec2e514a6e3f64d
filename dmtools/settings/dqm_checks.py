"""What types can't say of [dqm]: URLs, names that come twice, expressions that are none."""

from __future__ import annotations

import re
from difflib import get_close_matches

from dmtools.settings import addresses
from dmtools.settings.dqm import Dqm
from dmtools.settings.lines import Place

SIMULATED = ("sim:dqm/production", "sim:dqm/playback")
Found = list[tuple[Place, str]]


def check(dqm: Dqm) -> Found:
    """The problems of the section that was converted."""
    found: Found = []
    seen: dict[str, int] = {}
    if not dqm.sites:
        found.append((("sites",), "names no page; leave the key out for the two of the simulator"))
    for number, site in enumerate(dqm.sites):
        if site.name in seen:
            found.append((("sites", number, "name"), f"{site.name!r} is the name of entry {seen[site.name] + 1} already"))
        seen.setdefault(site.name, number)
        if problem := _url(site.url):
            found.append((("sites", number, "url"), problem))
    for number, text in enumerate(dqm.hide_patterns):
        if problem := _pattern(text):
            found.append((("hide_patterns", number), problem))
    if dqm.down_seconds < dqm.stale_seconds:
        found.append((("down_seconds",), f"is less than stale_seconds ({dqm.stale_seconds}): a page is Stale before it is Down"))
    return found


def _url(url: str) -> str:
    if url.startswith("sim:"):
        near = get_close_matches(url, SIMULATED, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return "" if url in SIMULATED else f"there is no simulated page {url!r}{hint}; they are {' and '.join(SIMULATED)}"
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return f"{url!r} holds a blank or a control character; write a blank as %20"
    none = "is no page that a browser opens; it is http://HOST/..., https://HOST/... or sim:dqm/production"
    return addresses.problem(url, none, "holds a user name or password; the page takes cookies: see cookie_file")


def _pattern(text: str) -> str:
    try:
        found = re.compile(text)
    except re.error as problem:
        return f"{text!r} is no regular expression: {problem}"
    return f"{text!r} matches the empty text, so it would hide nothing or all" if found.search("") else ""
