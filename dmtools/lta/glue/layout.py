"""Where each byte of a bundle lies, known before a file is read: so its files may be read and written in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dmtools.lta.glue import manifest
from dmtools.lta.glue.manifest import Record
from dmtools.storage.zipformat import LIMIT, STORED, Member, directory


@dataclass(frozen=True)
class File:
    """A file that is to be bundled: its path here, its LFN (percent-encoded), size in bytes, mtime in ns."""

    path: bytes
    name: str
    size: int
    mtime_ns: int


@dataclass
class Layout:
    """The members of a bundle, the manifest first, and where they end."""

    uuid: str
    files: Sequence[File]
    first: Member = field(init=False)
    members: list[Member] = field(init=False)
    end: int = field(init=False)

    def __post_init__(self) -> None:
        length = len(manifest.render(self.uuid, (Record(f.name, f.size, mtime_ns=f.mtime_ns) for f in self.files)))
        self.first, place = _member(manifest.file_name(self.uuid), 0, length)
        self.members = []
        for file in self.files:
            member, place = _member(manifest.member_name(file.name), place, file.size)
            self.members.append(member)
        self.end = place

    @property
    def size(self) -> int:
        """Bytes of the whole bundle."""
        return self.end + len(directory([self.first, *self.members], self.end))


def _member(name: bytes, place: int, size: int) -> tuple[Member, int]:
    """The member at a place, and the place behind it."""
    made = Member(name, STORED, place, size >= LIMIT, packed=size, size=size)
    return made, place + len(made.local()) + size
