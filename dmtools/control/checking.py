"""What dm-check looks at, whatever the pipeline: findings, dead leases, hidden leftovers, counts against rows."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, select

from dmtools.command.named import named
from dmtools.control.entry import Pipeline
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.journal import add_tally
from dmtools.ledger.leases import is_over, machine

LEFTOVER = re.compile(r"\..+\.(\d+)\.tmp")
ROUNDS = 3  # of a repair
FOREIGN_SECONDS = 3600  # a hidden file of a pid that isn't here may be another host's, when the tables are MariaDB's


@dataclass(frozen=True)
class Finding:
    """One disagreement: by which rule, of what, what stands where. `mend`: what --repair does; empty: a person must.

    `note`: told, but directories and tables do agree, or will by the next pass.
    """

    pipeline: str
    rule: str
    subject: str
    says: str
    mend: str = ""
    next: str = ""
    note: bool = False
    item: int = 0  # the row it is about, for the repair

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same finding when it is looked for again."""
        return (self.pipeline, self.rule, self.subject)


@dataclass(frozen=True)
class Inspection:
    """What a pipeline's check gets. `storage`: look at the destinations of no, some or all files that are done.

    `seed` chooses the sample: the same one whenever it is looked at in one run.
    """

    this: Pass
    storage: str = "no"
    seed: int = 1


@dataclass(frozen=True)
class Outcome:
    """A finding, and whether it is gone after the repair."""

    finding: Finding
    mended: bool = False

    def record(self) -> dict[str, Any]:
        """For --json."""
        f = self.finding
        found = {"pipeline": f.pipeline, "rule": f.rule, "subject": f.subject, "says": f.says}
        return {**found, "mend": f.mend, "next": f.next, "note": f.note, "mended": self.mended}


def look(inspection: Inspection, entries: Sequence[Pipeline]) -> list[Finding]:
    """All findings. What only a working pass leaves for a moment is gone at the second look."""
    first = _look(inspection, entries)
    if not first:
        return first
    again = {finding.key for finding in _look(inspection, entries)}
    return [finding for finding in first if finding.key in again]


def _look(inspection: Inspection, entries: Sequence[Pipeline]) -> list[Finding]:
    found = [*dead_leases(inspection.this), *leftovers(inspection.this, "dm", common_places(inspection.this.home))]
    for entry in entries:
        if entry.check:
            found += _checked(entry, inspection)
    return list({finding.key: finding for finding in found}.values())


def _checked(entry: Pipeline, inspection: Inspection) -> list[Finding]:
    """A check that can't be made is a finding, when it is a third party's."""
    try:
        return list(named(entry.check)(inspection))
    except Exception as problem:
        if entry.check.startswith("dmtools."):
            raise
        says = f"its check failed: {type(problem).__name__}: {problem}"
        return [Finding(entry.name, "no-check", entry.name, says, next="tell those who wrote it")]


def mended(looking: Inspection, mending: Inspection, entries: Sequence[Pipeline], found: Sequence[Finding]) -> list[Outcome]:
    """Mends and looks again, a few times: what was rebuilt may want to be written out."""
    now = found
    for _ in range(ROUNDS):
        if any(finding.mend for finding in now):
            repair(mending, entries, now)
            now = look(looking, entries)
    return after(found, now)


def repair(inspection: Inspection, entries: Sequence[Pipeline], findings: Sequence[Finding]) -> None:
    """Mends what can be mended, the common things first."""
    mend_leases(inspection.this)
    sweep(inspection.this, common_places(inspection.this.home))
    for entry in entries:
        mine = [finding for finding in findings if finding.pipeline == entry.name]
        if entry.repair and mine:
            named(entry.repair)(inspection, mine)


def after(before: Sequence[Finding], now: Sequence[Finding]) -> list[Outcome]:
    """What the repair mended, what is left, what came up meanwhile."""
    left = {finding.key for finding in now}
    found = [Outcome(finding, finding.key not in left) for finding in before]
    known = {finding.key for finding in before}
    return found + [Outcome(finding) for finding in now if finding.key not in known]


def common_places(home: Path) -> tuple[Path, ...]:
    """The directories of HOME in which hidden files are made, and that belong to no pipeline."""
    return (home, home / "run", home / "run/sim", home / "log", home / "secrets")


# ---- leases


def dead_leases(this: Pass) -> Iterator[Finding]:
    """Claims whose holder is gone. The next claim ends them anyway."""
    with this.ledger.read() as connection:
        now, here = this.ledger.now(connection), machine()
        rows = [row for row in connection.execute(select(tables.lease)) if is_over(row, now, here)]
    for row in rows:
        says = f"claimed by pid {row.pid} on {row.host}, which is gone or let it run out"
        yield Finding("dm", "dead-lease", row.resource, says, "it is taken away", note=True)


def held(this: Pass) -> set[str]:
    """What living commands have under their hands now."""
    with this.ledger.read() as connection:
        now, here = this.ledger.now(connection), machine()
        rows = [row for row in connection.execute(select(tables.lease)) if not is_over(row, now, here)]
    return {row.resource for row in rows if row.owner != this.leases.owner}


def mend_leases(this: Pass) -> None:
    """Takes away the claims of the dead."""

    def act(connection: Connection) -> None:
        now, here = this.ledger.now(connection), machine()
        rows = connection.execute(select(tables.lease).with_for_update())
        dead = [row.id for row in rows if is_over(row, now, here)]
        connection.execute(delete(tables.lease).where(tables.lease.c.id.in_(dead)))

    this.ledger.transact(act)


# ---- hidden files


def leftovers(this: Pass, pipeline: str, places: Iterable[Path]) -> Iterator[Finding]:
    """Hidden files in the making whose maker is dead: no reader ever sees them, they only take room."""
    for path in _left(this, places):
        says = "a file in the making, left by a command that is gone"
        yield Finding(pipeline, "leftover", str(path.relative_to(this.home)), says, "it is removed", note=True)


def sweep(this: Pass, places: Iterable[Path]) -> None:
    """Removes them."""
    for path in _left(this, places):
        path.unlink(missing_ok=True)
        this.log(f"removed {path}, left in the making by a command that is gone")


def _left(this: Pass, places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        try:
            names = sorted(os.listdir(place))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            match = LEFTOVER.fullmatch(name)
            if match and not Path(f"/proc/{match[1]}").exists() and _is_ours(this, place / name):
                yield place / name


def _is_ours(this: Pass, path: Path) -> bool:
    try:
        return this.ledger.sqlite or time.time() - path.lstat().st_mtime > FOREIGN_SECONDS
    except FileNotFoundError:
        return False


# ---- counts

Counts = dict[str, tuple[int, int]]


def tally_of(connection: Connection, pipeline: str) -> Counts:
    """(number, bytes) by state as they are kept."""
    table = tables.tally
    query = select(table.c.state, func.sum(table.c.n), func.sum(table.c.bytes)).where(table.c.pipeline == pipeline)
    return {state: (int(n), int(size)) for state, n, size in connection.execute(query.group_by(table.c.state))}


def compare_counts(pipeline: str, kept: Counts, counted: Counts) -> Iterator[Finding]:
    """The kept counts against those of the rows."""
    for state in sorted(kept.keys() | counted.keys()):
        was, is_ = kept.get(state, (0, 0)), counted.get(state, (0, 0))
        if was != is_:
            says = f"the counts say {was[0]} files, {was[1]} bytes; the rows are {is_[0]} files, {is_[1]} bytes"
            yield Finding(pipeline, "counts", state, says, "it is counted again")


def mend_counts(connection: Connection, pipeline: str, counted: Counts) -> None:
    """Adds what the kept counts lack, in the caller's transaction."""
    kept = tally_of(connection, pipeline)
    zero = (0, 0)
    change = {
        state: tuple(a - b for a, b in zip(counted.get(state, zero), kept.get(state, zero), strict=True))
        for state in kept.keys() | counted.keys()
    }
    add_tally(connection, pipeline, {state: (n, size) for state, (n, size) in change.items()})
