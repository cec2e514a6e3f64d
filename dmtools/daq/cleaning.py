"""Zips that are proved on tape leave the site; with keep_site = false their files' copies do, too.

Order: the journal says what will be removed -> the storage removes it, if it is still that file -> Cleaned. A kill in between is
finished by the next pass: what is gone already is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.daq import residency
from dmtools.daq.claiming import each, take
from dmtools.daq.states import CLEANED, ON_TAPE, ZIP_STATES
from dmtools.daq.zips import Step, Z, Zip, files_of, in_state, tape_url
from dmtools.ledger import journal
from dmtools.ledger.types import AnyRow
from dmtools.storage import Present, StorageError, client_for

MOST = 1000  # zips a pass
STALE = timedelta(hours=1)  # an older proof is made again before anything is removed
LOOK_SECONDS = 900.0


def clean(this: Pass) -> None:
    """Removes the zips at the site whose tape copy is proved."""
    with this.ledger.read() as connection:
        found = in_state(connection, ON_TAPE, Z.proved.is_not(None), most=MOST)
    for ours in each(this, found, 50):
        with this.ledger.read() as connection:
            files = files_of(connection, ours)
        safe = _proved_now(this, ours)
        _note(this, safe)
        with this.ledger.read() as connection:
            held = this.leases.still_held(connection, [one.resource for one in safe])
        gone = [one for one in safe if one.resource in held and _remove_all(this, one, files[one.id])]
        take(this, [Step(one, CLEANED, "the zip at the site is gone") for one in gone])


def _proved_now(this: Pass, zips: Sequence[Zip]) -> list[Zip]:
    """Those whose proof is fresh, or was made again just now; the others are told and stay."""
    old = [one for one in zips if one.proved is None or clock.now() - one.proved > STALE]
    if not old:
        return list(zips)
    urls = [tape_url(this.settings, one.name) for one in old]
    store = client_for(urls[0], this.settings)
    looks = store.look_many(urls, checksum=True, deadline=LOOK_SECONDS) if store is not None else [None] * len(urls)
    lost = set()
    for one, look, said in zip(old, looks, residency.ask(urls, this.settings), strict=True):
        equal = isinstance(look, Present) and (look.size, look.checksum) == (one.zip_size, one.zip_checksum)
        if not (equal and said.proved):
            lost.add(one.id)
            why = said.why if equal else f"the tape says of it: {look}"
            left = "the zip at the site stays"
            this.problem(
                "tape copy not proved again", one.shown, why=why, left=left, next="the next pass asks again", failed=False
            )
    return [one for one in zips if one.id not in lost]


def _note(this: Pass, zips: Sequence[Zip]) -> None:
    """The intent, before anything is removed."""
    what = "the zip" if this.settings.daq.keep_site else "the zip and its files' copies"
    why = f"{what} at the site will be removed: proved on tape"

    ids, kind, at = [one.id for one in zips], ZIP_STATES.kind, clock.now()
    this.ledger.transact(lambda c: journal.note_many(c, "daq", kind, ids, by=this.by, at=at, why=why))


def _remove_all(this: Pass, one: Zip, files: Sequence[AnyRow]) -> bool:
    """The zip, and with keep_site = false its files' copies; absent already is done. False: something of it stays."""
    done = one.place is None or _remove(this, one.place, one.zip_size)
    if not this.settings.daq.keep_site:
        for row in files:
            done = _remove(this, this.settings.daq.site + row.lfn, row.size) and done
    return done


def _remove(this: Pass, url: str, size: int | None) -> bool:
    store = client_for(url, this.settings)
    try:
        if store is None:
            raise StorageError("unsupported", "no client for its storage is installed here")
        mark = store.mark(url)
        if mark is not None and mark.size != size:
            raise StorageError("changed", f"it has {mark.size} bytes now, not {size}")
        store.delete(url, mark=mark)
    except StorageError as problem:
        left = "it stays at the site; what is on tape is safe"
        this.problem(
            "not removed from the site", names.shown(url), why=problem.reason, left=left, next="the next pass", failed=False
        )
        return False
    return True
