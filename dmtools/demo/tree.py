"""The source tree of the demo: real files whose names and sizes have broken transfer scripts before, and their digests."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 1 << 20
A_FOLDER = 200
LARGEST_SMALL = 24 * 1024
# LFNs are bytes: what a file system can hold, a master list can name.
NAMES = (
    b"/names/with blanks in it.raw",
    b"/names/two  blanks, as between the URLs of a list.raw",
    b"/names/ends with a blank ",
    "/names/Zürich Ελλάδα 漢字 🛰.raw".encode(),
    b"/names/latin-1 \xe9t\xe9, no UTF-8.raw",
    b"/names/100%25 percent%41.raw",
    b"/names/#no comment.raw",
    b"/names/query?a=1&b=2;c#d.raw",
    b'/names/quote\'s "and" back\\slash $HOME `x` *.raw',
    b"/names/500 No such file or directory: error FAILED.raw",
    b"/names/" + b"long-" * 48 + b".raw",
    b"/names/-rf",
    b"/names/FTSList-20160101T000000.000000Z-host-1.txt",
)
EMPTY = b"/names/empty.raw"
BIG = b"/big/one.raw"


@dataclass(frozen=True)
class Fact:
    """What a file is: its bytes and their SHA-256."""

    size: int
    sha256: str


@dataclass
class Tree:
    """Files below a root by LFN; filled while they are made, so that nothing later is needed to know what they were."""

    root: Path
    files: dict[bytes, Fact] = field(default_factory=dict)

    @property
    def volume(self) -> int:
        """Bytes of all files together."""
        return sum(fact.size for fact in self.files.values())

    def put(self, lfn: bytes, blocks: Iterator[bytes] | list[bytes]) -> None:
        """Makes one file."""
        path = os.fsencode(self.root) + lfn
        os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with open(path, "wb", buffering=0) as file:
            for block in blocks:
                file.write(block)
                digest.update(block)
                size += len(block)
        self.files[lfn] = Fact(size, digest.hexdigest())


def make(tree: Tree, small: int, big_bytes: int, told: Callable[[int, int], None]) -> None:
    """The special names, the empty and the big file, then `small` small ones. `told(bytes or files done, of all)`."""
    dice = random.Random(20161124)  # noqa: S311 - content, no secrets
    pool = dice.randbytes(4 * BLOCK)
    for lfn in NAMES:
        tree.put(lfn, [_piece(dice, pool)])
    tree.put(EMPTY, [])
    tree.put(BIG, _big_blocks(big_bytes, pool))
    for number in range(small):
        tree.put(b"/data/run%04d/raw_%05d.dat" % (number // A_FOLDER, number), [_piece(dice, pool)])
        if number % A_FOLDER == 0:
            told(number, small)
    told(small, small)


def _piece(dice: random.Random, pool: bytes) -> bytes:
    start = dice.randrange(len(pool) - LARGEST_SMALL)
    return pool[start : start + dice.randrange(LARGEST_SMALL)]


def _big_blocks(size: int, pool: bytes) -> Iterator[bytes]:
    """No two blocks are alike, so that a lost or swapped one shows."""
    for number in range(-(-size // BLOCK)):
        head = number.to_bytes(8, "big")
        yield (head + pool[: BLOCK - len(head)])[: size - number * BLOCK]


def walk(root: Path) -> Iterator[bytes]:
    """The LFN of every entry below a root that is no directory: hidden ones, links and all."""
    top = os.fsencode(root)
    open_directories = [top]
    while open_directories:
        with os.scandir(open_directories.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    open_directories.append(entry.path)
                else:
                    yield entry.path[len(top) :]


def look(root: Path, lfn: bytes) -> Fact:
    """Reads one file anew."""
    with open(os.fsencode(root) + lfn, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Fact(os.fstat(file.fileno()).st_size, digest.hexdigest())
