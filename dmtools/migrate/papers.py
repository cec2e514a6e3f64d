"""Lists as they stand in the directories: what is left to read when the tables are lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dmtools.migrate.home import Home
from dmtools.spool import folders as at
from dmtools.spool import listfile
from dmtools.spool.listfile import ListFile, ListUnreadable, Pair
from dmtools.transfers.errors import CLASSES


@dataclass
class Paper:
    """One list in one folder; `rejects` are the lines that name no file: (text, class, reason)."""

    folder: str
    name: str
    content: ListFile
    rejects: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def origin(self) -> tuple[str, int, int] | None:
        """(master list, first byte, byte behind the last) that it was cut from."""
        master, span = self.content.notes.get("master"), self.content.notes.get("bytes", "")
        start, _, end = span.partition("-")
        if master and start.isdigit() and end.isdigit() and int(start) <= int(end):
            return master, int(start), int(end)
        return None

    def number(self, word: str) -> int:
        """A note that is a number; 0 when it isn't there."""
        text = self.content.notes.get(word, "")
        return int(text) if text.isdigit() else 0

    @property
    def has_attempt(self) -> bool:
        """Does it carry an attempt: where it went, under which key?"""
        return all(self.content.notes.get(word) for word in ("attempt", "server", "sid", "job"))

    @property
    def was_tried(self) -> bool:
        """A list in TODO whose files the tables knew: it comes from an earlier attempt."""
        return any(word in self.content.notes for word in ("attempt", "failures", "overwrite"))

    def reason(self, pair: Pair) -> tuple[str, str]:
        """(class, reason) of a file in DONE/{Bad,Missing}."""
        return split_reason(self.content.reasons.get(pair, ""), "missing" if self.folder == at.MISSING else "other")


def split_reason(text: str, otherwise: str) -> tuple[str, str]:
    """`class: reason` as the directories have it."""
    kind, colon, rest = text.partition(": ")
    return (kind, rest) if colon and kind in CLASSES else (otherwise, text or "the reason was lost with the tables")


def papers(home: Home, folder: str, names: list[str] | None = None) -> Iterator[Paper]:
    """The lists of a folder (these, or all), one at a time; what is no list is left out."""
    for name in home.folders.names(folder) if names is None else names:
        path = home.folders.path(folder, name)
        try:
            content = listfile.read(path)
            yield Paper(folder, name, content, _rejects(path.read_bytes()) if folder == at.BAD else [])
        except (FileNotFoundError, ListUnreadable):
            continue


def _rejects(data: bytes) -> list[tuple[str, str, str]]:
    """`# class: reason`, then `# ! text`: how a line that names no file is kept."""
    found, before = [], ""
    for line in data.decode("ascii", "replace").splitlines():
        if line.startswith("# ! "):
            found.append((line[4:], *split_reason(before, "invalid")))
        before = line[2:] if line.startswith("# ") else ""
    return found


def is_child(name: str, doing: set[str]) -> bool:
    """Is it the rest (D...) of a list that still stands in DOING? Then that one's outcome was booked already."""
    while name.startswith("D"):
        name = name[1:]
        if name in doing:
            return True
    return False
