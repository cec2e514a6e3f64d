"""dm-check --storage: are the files that are done still at their destinations, equal? Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import select

from dmtools import names
from dmtools.control.checking import Finding
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow
from dmtools.migrate.check import Scene, finding, note
from dmtools.migrate.states import OKAY
from dmtools.storage import Absent, Look, Present
from dmtools.transfers import verdict

T, F = tables.transfer.c, tables.filelist.c
SAMPLE = 100
PRIME = 1_000_003
CHUNK = 500
SECONDS = 3600


def check(scene: Scene, how: str, seed: int) -> Iterator[Finding]:
    """Looks at a random sample of the Okay files, or at all of them: size and checksum."""
    unknown, first = 0, ""
    for part in _parts(scene, how, seed):
        looks = verdict.look_at_destinations(part, scene.this.settings, SECONDS)
        for row in part:
            look = looks.get(row.id)
            if isinstance(look, (Present, Absent)):
                if (found := judge(row, look)) is not None:
                    yield found
            else:
                unknown, first = unknown + 1, first or f"{row.destination}: {look.reason if look else 'no client for it here'}"
    if unknown:
        yield note("storage-unknown", f"{unknown} files", f"their destinations can't be asked now, e.g. {first}")


def _parts(scene: Scene, how: str, seed: int) -> Iterator[Sequence[AnyRow]]:
    columns = (T.id, T.name, T.destination, T.size, T.checksum)
    query = select(*columns).join(tables.filelist, F.id == T.list_id)
    query = query.where(T.pipeline == "migrate", T.state == OKAY, F.home == scene.home.id)
    if how == "sample":
        order = (T.id * seed) % PRIME  # a random order that is the same at the second look
        with scene.this.ledger.read() as connection:
            yield list(connection.execute(query.order_by(order).limit(SAMPLE)))
        return
    last = 0
    while True:
        with scene.this.ledger.read() as connection:
            part = list(connection.execute(query.where(T.id > last).order_by(T.id).limit(CHUNK)))
        if not part:
            return
        last = part[-1].id
        yield part


def judge(row: AnyRow, look: Look) -> Finding | None:
    """One file that is done, against what is there."""
    shown = names.shown(row.name)
    if isinstance(look, Absent):
        mend = "it becomes Bad, class lost; migrate-triage --class lost --requeue copies it again"
        says = f"it is Okay, but nothing is at {row.destination}"
        return Finding("migrate", "okay-gone", shown, says, mend, item=row.id)
    if isinstance(look, Present) and not _same(row, look):
        says = f"it is Okay with {row.size} bytes, {row.checksum}; at {row.destination} are {look.size} bytes, {look.checksum}"
        return finding(
            "okay-different", shown, says, next="look at both; move the one at the destination away to have it copied again"
        )
    return None


def _same(row: AnyRow, look: Present) -> bool:
    """Only what was recorded can differ."""
    sizes = row.size is None or row.size == look.size
    return sizes and (row.checksum is None or look.checksum is None or row.checksum == look.checksum)
