"""Changes one key in the text of a settings file; every other line, the comments among them, stays as it is."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from dmtools.settings.lines import Place, spans


class NoPlace(Exception):
    """The file is written so that the key can't be put into it safely; nothing was changed. The text says what to do."""


def put(text: str, section: str, key: str, written: str) -> str:
    """The text with `section.key = written` (a value as TOML). Raises NoPlace."""
    new = _put(text, section, key, written)
    try:
        got = tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        got = {}
    if got != _wanted(text, section, key, written):
        form = f"[{section}] stands in the file in a form that isn't changed by a program"
        raise NoPlace(f"{form}; write it there yourself: {key} = {written}")
    return new


def _wanted(text: str, section: str, key: str, written: str) -> dict[str, Any]:
    table = tomllib.loads(text)
    inner = table.get(section, {})
    return {**table, section: {**inner, key: tomllib.loads(f"x = {written}")["x"]}}


def _put(text: str, section: str, key: str, written: str) -> str:
    """Where it stands; else below its header; else where its comment is; else above the first header."""
    end = "\r\n" if "\r\n" in text else "\n"
    found = spans(text)
    headers = {place: span for place, span in found.items() if text[span[0] : span[0] + 1] == "[" and _begins_line(text, span[0])}
    if (section, key) in found and (section, key) not in headers:
        begin, stop = found[section, key]
        return text[:begin] + written + text[stop:]
    if (section,) in headers:
        return _insert(text, _line_end(text, headers[section,][1]), f"{key} = {written}", end)
    line, first = f"{section}.{key} = {written}", _first_line(text, headers)
    commented = re.compile(rf"^#[ \t]*{re.escape(section)}\.{re.escape(key)}[ \t]*=[^\r\n]*", re.MULTILINE)
    if (old := commented.search(text)) and old.start() < first and _is_comment(text, old.start(), found):
        return text[: old.start()] + line + text[old.end() :]
    return _insert(text, first, line, end)


def _begins_line(text: str, at: int) -> bool:
    return not text[text.rfind("\n", 0, at) + 1 : at].strip()


def _line_end(text: str, at: int) -> int:
    stop = text.find("\n", at)
    return len(text) if stop < 0 else stop + 1


def _first_line(text: str, headers: dict[Place, tuple[int, int]]) -> int:
    """Where the line of the first header begins: keys above it belong to no section."""
    first = min((begin for begin, _ in headers.values()), default=len(text))
    return len(text) if first == len(text) else text.rfind("\n", 0, first) + 1


def _is_comment(text: str, at: int, found: dict[Place, tuple[int, int]]) -> bool:
    """It begins with #, and may all the same be a line of a long text."""
    return not any(begin < at < stop for begin, stop in found.values())


def _insert(text: str, at: int, line: str, end: str) -> str:
    before = text[:at]
    glue = end if before and not before.endswith("\n") else ""
    return f"{before}{glue}{line}{end}{text[at:]}"
