"""Lines of a master list -> the content of list files: one rule a list, bad lines apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dmtools import names
from dmtools.migrate.masters import enough, is_lfn_line
from dmtools.migrate.rules import Rules
from dmtools.settings import Rule
from dmtools.spool.listfile import MAX_URL

_PLAIN = bytes(c for c in range(33, 127) if c not in b'%"#<>?[\\]^`{|}')  # what needs no encoding in a URL


@dataclass
class Piece:
    """The lines of one list: where they stand in the master list, its text, and the lines that name no file."""

    start: int
    length: int
    lfns: int
    text: bytes = b""
    files: int = 0
    bad: list[tuple[int, bytes, str]] = field(default_factory=list)  # (offset, raw line, why)


def pieces(start: int, lines: list[bytes], ends: bool, rules: Rules, lfns: int) -> Iterator[Piece]:
    """Cuts lines into lists of `lfns` files, the last may have fewer. `ends`: does the last line have its newline?"""
    only, first = rules.the_only(), 0
    while first < len(lines):
        part = lines[first : first + lfns]
        plain = only is not None and _all_plain(part)
        if not plain:
            part = lines[first : enough(lines, lfns, first) or len(lines)]
        first += len(part)
        length = sum(map(len, part)) + len(part) - (0 if ends or first < len(lines) else 1)
        if only is not None and plain:
            yield Piece(start, length, len(part), _quick(part, only), len(part))
        else:
            yield from _slow(start, part, length, rules)
        start += length


def _all_plain(part: list[bytes]) -> bool:
    """Absolute names without `..`, blanks or anything that must be encoded: no line needs a closer look."""
    text = b"\n" + b"\n".join(part)
    return (
        text.count(b"\n/") == len(part)
        and b"/.." not in text
        and b"/\n" not in text
        and not text.endswith(b"/")
        and max(map(len, part)) < MAX_URL - 400
        and not text.translate(None, _PLAIN).strip(b"\n")
    )


def _quick(part: list[bytes], rule: Rule) -> bytes:
    source, destination = _base(rule.source), _base(rule.destination)
    return b"".join([b"%b%b  %b%b\n" % (source, line, destination, line) for line in part])


def _base(url: str) -> bytes:
    return names.normal(url).removesuffix("/").encode("ascii")


def _slow(start: int, part: list[bytes], length: int, rules: Rules) -> Iterator[Piece]:
    """Line by line; a change of rule begins a new list."""
    end = start + length
    piece, current = Piece(start, 0, 0), None
    text: list[str] = []
    for line in part:
        size = min(len(line) + 1, end - piece.start - piece.length)
        if is_lfn_line(line):
            try:
                rule, pair = rules.pair(line)
            except names.NameRefused as problem:
                piece.bad.append((piece.start + piece.length, line, str(problem)))
            else:
                if current is not None and rule.match != current and text:
                    yield _closed(piece, text)
                    piece, text = Piece(piece.start + piece.length, 0, 0), []
                current = rule.match
                text.append(f"{pair.source}  {pair.destination}\n")
            piece.lfns += 1
        piece.length += size
    yield _closed(piece, text)


def _closed(piece: Piece, text: list[str]) -> Piece:
    piece.text = "".join(text).encode("ascii")
    piece.files = len(text)
    return piece
