"""List files: `SOURCE-URL<two spaces>DESTINATION-URL` a line, `#` comments, `#dm key=value` notes of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dmtools import names

MAX_URL = 1100  # what FTS stores of a SURL
MAX_FILE = 64 * 1024 * 1024
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[!-~]*")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_NOTE = re.compile(r"(\w+)=(\S*)")


class ListUnreadable(Exception):
    """The whole file is no list: a directory, binary, too large. The text says which."""


@dataclass(frozen=True)
class Pair:
    """One file: where it is and where it goes, both as percent-encoded URLs."""

    source: str
    destination: str


@dataclass(frozen=True)
class BadLine:
    """A line that names no pair: its number, its text (encoded) and why."""

    number: int
    text: str
    why: str


@dataclass
class ListFile:
    """The content of a list file. `notes` are the `#dm` words; later ones win."""

    pairs: list[Pair] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    reasons: dict[Pair, str] = field(default_factory=dict)


def check_url(url: str, *, any_name: bool = False) -> None:
    """Refuses a URL that no job may carry. Raises NameRefused with the reason.

    A control character that a person wrote is a slip. With `any_name` it is the name of a file that is there, and carried.
    """
    if not _URL.fullmatch(url):
        raise names.NameRefused(f"{url!r} is no percent-encoded URL like root://host//path or file:///path")
    if len(url) > MAX_URL:
        raise names.NameRefused(f"the URL has {len(url)} characters; FTS keeps {MAX_URL}")
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if not slash or not path.strip("/"):
        raise names.NameRefused(f"{url} names no file")
    if path.endswith("/"):
        raise names.NameRefused(f"{url} ends with a slash: it names a directory, not a file")
    if not host and scheme != "file":
        raise names.NameRefused(f"{url} names no host")
    if "%" not in path and "/.." not in rest:
        return  # nothing that is encoded, nothing that leads up
    raw = names.decode(path)
    if b".." in raw.split(b"/"):
        raise names.NameRefused(f"{url} holds '..', which could lead out of its root")
    if b"\0" in raw or (not any_name and _CONTROL.search(raw)):
        raise names.NameRefused(f"{url} holds a control character (a newline, a NUL ...)")


def read(path: Path, *, any_name: bool = False) -> ListFile:
    """Reads a list file, `any_name` as in `check_url`.

    Raises ListUnreadable for what is no list at all, FileNotFoundError when it is gone.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except IsADirectoryError:
        raise ListUnreadable("is a directory, not a list file") from None
    if len(data) > MAX_FILE:
        raise ListUnreadable("is larger than 64 MiB; a list names some 20 to 10,000 files")
    if b"\0" in data:
        raise ListUnreadable("is a binary file: it holds NUL bytes")
    return parse(data, any_name=any_name)


def parse(data: bytes, *, any_name: bool = False) -> ListFile:
    """The text of a list file -> its pairs, bad lines, notes; the comment above a pair is its reason."""
    found = ListFile()
    comment = ""
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.decode("utf-8", "backslashreplace").rstrip("\r")  # what isn't ASCII is refused below, legibly
        if not line.strip():
            continue
        if line.startswith("#"):
            if line.startswith("#dm "):
                found.notes |= dict(_NOTE.findall(line[4:]))
            else:
                comment = line[1:].strip()
            continue
        try:
            pair = _pair(line, any_name)
        except names.NameRefused as problem:
            found.bad.append(BadLine(number, names.encode(raw), str(problem)))
        else:
            found.pairs.append(pair)
            if comment:
                found.reasons[pair] = comment
        comment = ""
    return found


def _pair(line: str, any_name: bool) -> Pair:
    source, gap, destination = line.partition("  ")
    if not gap or not destination:
        raise names.NameRefused("a line is SOURCE-URL, two blanks, DESTINATION-URL")
    check_url(source, any_name=any_name)
    check_url(destination, any_name=any_name)
    return Pair(names.normal(source), names.normal(destination))  # two spellings of one place are one file


def note(**words: object) -> str:
    """A `#dm` line."""
    return "#dm " + " ".join(f"{key}={value}" for key, value in words.items() if value not in (None, "")) + "\n"


def text(
    pairs: Iterable[Pair], notes: Iterable[str] = (), reasons: dict[Pair, str] | None = None, tail: Iterable[str] = ()
) -> bytes:
    """The content of a list file: notes first, each reason as a comment line above its file, `tail` comments last."""
    lines = list(notes)
    for pair in pairs:
        if reasons and (why := reasons.get(pair)):
            lines.append(f"# {names.printable(why)}\n")
        lines.append(f"{pair.source}  {pair.destination}\n")
    lines += [f"# {names.printable(line)}\n" for line in tail]
    return "".join(lines).encode("ascii", "backslashreplace")


def first_notes(path: Path) -> dict[str, str]:
    """The `#dm` words of a file's first line; none when it can't be read."""
    try:
        with path.open("rb") as stream:
            line = stream.readline(4096).decode("ascii", "replace")
    except OSError:
        return {}
    return dict(re.findall(r"(\w+)=(\S*)", line[4:])) if line.startswith("#dm ") else {}
