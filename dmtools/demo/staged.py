"""What the demo does to the migration on purpose: files that can't arrive, and faults that must leave no trace."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

from dmtools.demo.tree import Tree

OCCUPIED, HOPELESS, GONE, LOST = (
    b"/staged/occupied.raw",
    b"/staged/fails-always.raw",
    b"/staged/gone-under-way.raw",
    b"/staged/never-written.raw",
)
FAILS, CORRUPT, SLOW = b"/staged/fails-once.raw", b"/staged/corrupt-once.raw", b"/staged/slow.raw"
TWICE = b"/staged/named-twice.raw"
LATE = (b"/staged/late 1.raw", b"/staged/late 2.raw", b"/staged/late 3.raw")
WRONG_LINES = (b"relative/name.raw", b"/staged/../../../../etc/passwd")
FOREIGN = b"somebody else's file: it must stay as it is\n"

_FAULTS = """\
# What dm-demo stages. dm-sim reads this file again at each request.
[[fault]]
match = "/staged/fails-always.raw"
op = "fail"
reason = "TRANSFER [70] TRANSFER globus_ftp_control_local_pasv failed"

[[fault]]
match = "/staged/gone-under-way.raw"
op = "fail"
reason = "SOURCE [2] 500 No such file or directory"

[[fault]]
match = "/staged/fails-once.raw"
op = "fail"
reason = "DESTINATION [70] Communication error on send"
times = 1

[[fault]]
match = "/staged/corrupt-once.raw"
op = "corrupt"
times = 1

[[fault]]
match = "/staged/slow.raw"
op = "slow"
seconds = 2
times = 1

[[fault]]
match = "POST /jobs"
op = "lose-answer"
times = 2

[[fault]]
match = "GET /jobs/*"
op = "http500"
times = 1
"""


@dataclass(frozen=True)
class Doom:
    """Where a name that can't arrive must end, in which class, and why that is so."""

    folder: str
    error_class: str
    why: str


DOOMED = {
    OCCUPIED: Doom("Bad", "occupied", "another file stands at its destination"),
    HOPELESS: Doom("Bad", "network", "every copy of it fails"),
    GONE: Doom("Bad", "missing", "it vanishes at the source under way"),
    LOST: Doom("Missing", "missing", "it is listed and was never written"),
}


def make(tree: Tree, destination: Path) -> None:
    """The source files with a fate of their own, and the foreign file in the way of one of them."""
    for lfn in (OCCUPIED, HOPELESS, GONE, FAILS, CORRUPT, SLOW, TWICE, *LATE):
        tree.put(lfn, [b"content of " + lfn + b"\n"] * 50)
    Tree(destination).put(OCCUPIED, [FOREIGN])


def write_faults(home: Path, servers: tuple[str, ...]) -> None:
    """The same faults for each server."""
    for name in servers:
        (home / "run/sim" / f"{name}.faults.toml").write_text(_FAULTS, "utf-8")


def master_lists(tree: Tree) -> dict[str, bytes]:
    """Two master lists, one of them gzip: all files, those that can't arrive, one named three times, wrong lines."""
    named = sorted(set(tree.files) - set(LATE) | {LOST})
    first, second = named[::2], named[1::2]
    head = b"# made by dm-demo; LFNs are raw bytes, one a line\n\n"
    one = [*first, TWICE, *WRONG_LINES]
    two = [TWICE, *second]
    return {
        "demo-a.txt": head + b"\n".join(one) + b"\n",
        "demo-b.txt.gz": gzip.compress(b"\n".join(two) + b"\n", mtime=0),
    }


def longer(before: bytes) -> bytes:
    """The first list again, as it comes when somebody found more files: it is read on from where it was."""
    return before + b"\n".join(LATE) + b"\n"
