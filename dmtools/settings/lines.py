"""On which line each key of a TOML text stands. For texts that tomllib has taken."""

from __future__ import annotations

import re

Place = tuple[str | int, ...]
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})', re.DOTALL),
    re.compile(r"'''.*?'''(?:'{0,2})", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)
_ATOM = re.compile(r"[^,\]}#\n]+")


def positions(text: str) -> dict[Place, int]:
    """`("fts", "servers", 1, "url")` -> its line, 1-based; for sections, keys and the entries of arrays."""
    return _Scan(text).run()


def spans(text: str) -> dict[Place, tuple[int, int]]:
    """Where the value of each key begins and ends in the text, as indices; for headers, too, of `[section]` alone."""
    scan = _Scan(text)
    scan.run()
    return scan.spans


def find(lines: dict[Place, int], place: Place) -> int:
    """The line of the place, or of what it stands in; 0 when nothing of it is in the text."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 0)


class _Scan:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.found: dict[Place, int] = {}
        self.tables: dict[Place, int] = {}  # how many [[x]] were seen
        self.spans: dict[Place, tuple[int, int]] = {}

    def run(self) -> dict[Place, int]:
        table: Place = ()
        while self.skip() < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
        return self.found

    def skip(self, pattern: re.Pattern[str] = _BLANK) -> int:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.at

    def note(self, place: Place) -> None:
        line = self.text.count("\n", 0, self.at) + 1
        for end in range(1, len(place) + 1):
            self.found.setdefault(place[:end], line)

    def header(self) -> Place:
        many, begin = self.text.startswith("[[", self.at), self.at
        self.at += 2 if many else 1
        keys = self.keys()
        self.at += 2 if many else 1
        place: Place = ()
        for number, key in enumerate(keys):
            place += (key,)
            if many and number == len(keys) - 1:
                self.tables[place] = self.tables.get(place, 0) + 1
            if place in self.tables:
                place += (self.tables[place] - 1,)
        self.note(place)
        self.spans[place] = (begin, self.at)
        return place

    def keys(self) -> list[str]:
        found: list[str] = []
        while True:
            self.skip(_SPACE)
            if self.text[self.at] in "\"'":
                found.append(self.string()[1:-1])
            else:
                start = self.at
                found.append(self.text[start : self.skip(_BARE_KEY)])
            self.skip(_SPACE)
            if self.text[self.at] != ".":
                return found
            self.at += 1

    def pair(self, table: Place) -> None:
        start = self.at
        place = table + tuple(self.keys())
        end, self.at = self.at, start
        self.note(place)
        self.at = end + 1
        begin = self.skip(_SPACE)
        self.value(place)
        self.spans[place] = (begin, begin + len(self.text[begin : self.at].rstrip()))

    def value(self, place: Place) -> None:
        if self.text[self.at] in "\"'":
            self.string()
        elif self.text[self.at] == "[":
            self.array(place)
        elif self.text[self.at] == "{":
            self.inline(place)
        else:
            self.skip(_ATOM)

    def array(self, place: Place) -> None:
        self.at += 1
        number = 0
        while self.text[self.skip()] != "]":
            self.note((*place, number))
            self.value((*place, number))
            number += 1
            if self.text[self.skip()] == ",":
                self.at += 1
        self.at += 1

    def inline(self, place: Place) -> None:
        self.at += 1
        while self.text[self.skip()] != "}":
            self.pair(place)
            if self.text[self.skip()] == ",":
                self.at += 1
        self.at += 1

    def string(self) -> str:
        for pattern in _STRINGS:
            if found := pattern.match(self.text, self.at):
                self.at = found.end()
                return found[0]
        raise ValueError("no string here: tomllib takes no such text")
