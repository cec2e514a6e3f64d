"""What is to be deleted, written down before it is: HOME/lta/deleting/bundle-ID.ndjson, and HOME/lta/deleted/ when all is done.

So a file that is gone can be told from one that was never seen, and a delete that was killed is ended by the next run.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from dmtools import clock, durable
from dmtools.lta.api.bundles import Bundle
from dmtools.storage.answers import Mark

TRASH, DELETE = "trash", "delete"
BEGUN, ENDED = "deleting", "deleted"


class Intent(Struct, frozen=True):
    """One file: its LFN, its path here (percent-encoded), which way it goes, and what it was just before."""

    name: str
    path: str
    way: str
    inode: int
    size: int
    mtime_ns: int

    @property
    def mark(self) -> Mark:
        """What it was."""
        return Mark(self.inode, self.size, self.mtime_ns)


class _Head(Struct):
    bundle: int
    ideal: str
    at: str
    by: str


def place(home: Path, folder: str, bundle: int) -> Path:
    """Where the intents of a bundle stand."""
    return home / "lta" / folder / f"bundle-{bundle}.ndjson"


def read(home: Path, bundle: int) -> dict[str, Intent]:
    """What was intended for a bundle, by LFN, whether it is at its end or not. Raises ValueError for a damaged file."""
    found: dict[str, Intent] = {}
    for folder in (ENDED, BEGUN):
        path = place(home, folder, bundle)
        try:
            lines = path.read_bytes().splitlines()[1:]
        except FileNotFoundError:
            continue
        decoder = msgspec.json.Decoder(Intent)
        try:
            found |= {one.name: one for one in map(decoder.decode, lines)}
        except msgspec.MsgspecError as problem:
            raise ValueError(f"{path} is damaged: {problem}") from None
    return found


def write(home: Path, bundle: Bundle, intents: Mapping[str, Intent]) -> None:
    """Whole and durable. Raises OSError."""
    path = place(home, BEGUN, bundle.id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    head = _Head(bundle.id, bundle.ideal, clock.iso(clock.now()) or "", getpass.getuser())
    lines: Iterable[Struct] = (head, *intents.values())
    durable.write_file(path, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def forget(home: Path, bundle: int, path: str) -> None:
    """A file that was put back is not intended for anything any more."""
    file = place(home, BEGUN, bundle)
    if file.exists():
        head, *lines = file.read_bytes().splitlines(keepends=True)
        left = [line for line in lines if msgspec.json.decode(line, type=Intent).path != path]
        durable.write_file(file, b"".join([head, *left]))


def begun(home: Path) -> list[int]:
    """Bundles whose deletion has begun and is not at its end."""
    places = (home / "lta" / BEGUN).glob("bundle-*.ndjson")
    return sorted(int(number) for path in places if (number := path.stem.removeprefix("bundle-")).isdigit())


def end(home: Path, bundle: int) -> None:
    """All is done: what was deleted stays on record. What killed writers of it left goes."""
    path, target = place(home, BEGUN, bundle), place(home, ENDED, bundle)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    if path.exists():
        durable.move(path, target)
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        left.unlink(missing_ok=True)
