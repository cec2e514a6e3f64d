"""The nightly audit: some of the zips on tape are read back whole and proved again, oldest first and a few at random.

A zip is Bad only when the tape gave it twice with other bytes than the books have, or says that it has no such file; a tape
that can't be read now says nothing about its files.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from dmtools import clock, names
from dmtools.command import Refused, Unavailable
from dmtools.control.passes import Pass
from dmtools.daq import fromtape, jobfile, states, zips
from dmtools.daq.claiming import claimed
from dmtools.daq.fromtape import Member, TapeZip
from dmtools.daq.lfn import lfn_key
from dmtools.daq.scratch import scratch
from dmtools.daq.staging import bring_online
from dmtools.daq.wanted import spellings
from dmtools.daq.zips import F, Z, Zip
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.engine import Stale
from dmtools.ledger.journal import Move, advance
from dmtools.ledger.types import AnyRow
from dmtools.storage import Absent, Present, StorageError, client_for
from dmtools.storage.errnos import error_of

AT_RANDOM = 0.2  # of the sample; the others are those that were read longest ago
HIDDEN = "daq-audit-"
DRAWS = 8  # random ids for each zip that is wanted: gaps and other states among them
LOOK_SECONDS = 3600.0
AT_TAPE = (states.ON_TAPE, states.CLEANED)
FILES_AT_TAPE = (states.ON_TAPE, states.FREED)
VERDICTS = ("checksum", "missing")  # what the tape itself says against a file
Away = list[tuple[str, str]]  # (zip, why) of what could not be read now


def audit(this: Pass, wanted: Sequence[str], *, most: int, seconds: float) -> None:
    """Reads tonight's sample, or the zips of these LFNs; begins none after so many seconds."""
    end = time.monotonic() + seconds
    chosen = _of_lfns(this, wanted) if wanted else sample(this)
    if most:
        chosen = chosen[:most]
    away: Away = []
    done = 0
    for one in chosen:
        if this.dry_run:
            this.plan(f"would read {one.shown} back from tape: {one.zip_size} bytes, {one.files} files")
            continue
        if time.monotonic() >= end or not this.goes():
            this.log(f"the time is up: {done} of {len(chosen)} were read; the next night goes on with the oldest")
            break
        done += _audit(this, one, max(0.0, end - time.monotonic()), away)
    _settle(this, away, done)


# ---- which --------------------------------------------------------------------------------------------------------------


def sample(this: Pass) -> list[Zip]:
    """Tonight's zips: [daq] audit_percent of those on tape, none that was proved or read in the last audit_days."""
    daq = this.settings.daq
    with this.ledger.read() as connection:
        total = connection.execute(select(func.count()).where(Z.state.in_(AT_TAPE))).scalar_one()
        number = math.ceil(total * daq.audit_percent / 100)
        if not number:
            return []
        before = clock.now() - timedelta(days=daq.audit_days)
        due = and_(Z.state.in_(AT_TAPE), Z.proved < before, or_(Z.audited.is_(None), Z.audited < before))
        drawn = _at_random(connection, due, math.floor(number * AT_RANDOM))
        oldest = select(*zips.COLUMNS).where(due, Z.id.not_in(drawn)).order_by(Z.audited, Z.proved, Z.id)
        found = [Zip(*row) for row in connection.execute(oldest.limit(number - len(drawn)))]
        return found + list(zips.by_ids(connection, list(drawn)).values())


def _at_random(connection: Connection, due: ColumnElement[bool], number: int) -> list[int]:
    """Ids of up to so many zips, each as likely as another; no sort of the whole table."""
    if not number:
        return []
    first, last = connection.execute(select(func.min(Z.id), func.max(Z.id))).one()
    dice = random.SystemRandom()
    drawn = {dice.randint(first, last) for _ in range(number * DRAWS)}
    found = [row.id for part in chunks(list(drawn)) for row in connection.execute(select(Z.id).where(due, Z.id.in_(part)))]
    return dice.sample(found, min(number, len(found)))


def _of_lfns(this: Pass, wanted: Sequence[str]) -> list[Zip]:
    keys = {name: [lfn_key(lfn) for lfn in spellings(name)] for name in wanted}
    with this.ledger.read() as connection:
        ids: list[int] = []
        for name, spelt in keys.items():
            row = connection.execute(select(F.zip_id).where(F.lfn_key.in_(spelt))).first()
            if row is None or row.zip_id is None:
                raise Refused(f"no zip of {name} is known; see dm-trace {name}")
            ids.append(row.zip_id)
        found = zips.by_ids(connection, list(dict.fromkeys(ids)))
    for one in found.values():
        if one.state not in AT_TAPE:
            raise Refused(f"the zip {one.shown} is {one.state}: only what was proved on tape can be read back")
    return list(found.values())


# ---- one zip ------------------------------------------------------------------------------------------------------------


def _audit(this: Pass, one: Zip, wait: float, away: Away) -> int:
    """Reads one zip, when it is ours; gives 1 when the tape could be read."""
    with claimed(this, [one]) as ours:
        if not ours or _read_meanwhile(this, one):
            return 0
        with this.ledger.read() as connection:
            files = zips.files_of(connection, [one])[one.id]
        problem = _read_twice(this, one, files, wait)
        if problem is None:
            _book_well(this, one, len(files))
        elif problem.cls in VERDICTS:
            _book_bad(this, one, files, problem)
        else:
            away.append((one.shown, problem.reason))
            return 0
    return 1


def _read_meanwhile(this: Pass, one: Zip) -> bool:
    """Another audit was quicker."""
    with this.ledger.read() as connection:
        audited = connection.execute(select(Z.audited).where(Z.id == one.id)).scalar()
    return audited is not None and audited > this.report.started


def _read_twice(this: Pass, one: Zip, files: Sequence[AnyRow], wait: float) -> StorageError | None:
    """None: all is as the books say. A wrong answer is asked for again: it may have been the way here."""
    first = _read(this, one, files, wait)
    if first is None or first.cls not in VERDICTS:
        return first
    second = _read(this, one, files, wait)
    if second is None:
        this.log(f"{one.shown}: read wrong once ({first.reason}), then right: look at the network and the disks of this machine")
    return second


def _read(this: Pass, one: Zip, files: Sequence[AnyRow], wait: float) -> StorageError | None:
    wanted = TapeZip(zips.tape_url(this.settings, one.name), one.zip_size, one.zip_checksum)
    staged = bring_online([wanted.url], this.settings, wait)
    if wanted.url in staged.away:
        return StorageError("unreachable", staged.away[wanted.url])
    if wanted.url in staged.lost:
        return _missing(this, one, staged.lost[wanted.url])
    place = jobfile.scratch_place(this.settings.daq.scratch)
    members = [Member(row.lfn, row.size, row.checksum) for row in files]
    try:
        with scratch(place, str(one.id), HIDDEN) as directory:
            path = fromtape.fetch(wanted, directory, this.settings)
            fromtape.check(wanted, path, members)
    except StorageError as problem:
        return _missing(this, one, problem.reason) if problem.cls == "missing" else problem
    except OSError as problem:
        return error_of(problem, f"the scratch directory {place}", "used")
    return None


def _missing(this: Pass, one: Zip, why: str) -> StorageError:
    """Absent on a tape that is there; a tape whose first directory isn't there is not mounted."""
    top = this.settings.daq.tape + "/" + one.name.split("/")[1]
    store = client_for(top, this.settings)
    trouble = store.trouble(top) if store is not None and one.name.count("/") > 1 else None
    if trouble is not None:
        return StorageError("unreachable", f"{why}; and {trouble}")
    return StorageError("missing", why)


# ---- books --------------------------------------------------------------------------------------------------------------


def _book_well(this: Pass, one: Zip, files: int) -> None:
    at = clock.now()
    why = f"read back from tape: {one.zip_size} bytes, {one.zip_checksum}; {files} files in it are the originals"

    def work(connection: Connection) -> None:
        connection.execute(update(tables.daq_zip).where(Z.id == one.id, Z.state == one.state).values(audited=at))
        journal.note(connection, "daq", states.ZIP_STATES.kind, one.id, by=this.by, at=at, why=why)

    this.ledger.transact(work)
    this.log(f"{one.shown}: {why}")


def _book_bad(this: Pass, one: Zip, files: Sequence[AnyRow], problem: StorageError) -> None:
    at = clock.now()
    why = f"daq-audit: {problem.reason}"
    values = (("error_class", problem.cls), ("reason", why))
    moves = [Move(row.id, row.state, states.BAD, why, row.size, values=values) for row in files if row.state in FILES_AT_TAPE]

    def work(connection: Connection) -> None:
        move = Move(one.id, one.state, states.BAD, why, values=(*values, ("audited", at)))
        advance(connection, tables.daq_zip, states.ZIP_STATES, [move], by=this.by, at=at)
        advance(connection, tables.daq_file, states.STATES, moves, by=this.by, at=at)

    try:
        this.ledger.transact(work)
    except Stale as changed:
        this.log(f"{one.shown}: {why}; but {changed}: it is left to the next night")
        return
    for row in files:
        this.moved(row.state, states.BAD)
        left, step = _other_copy(this, one, row)
        this.problem("bad on tape", names.shown(row.lfn), why=problem.reason, left=left, next=step)


def _other_copy(this: Pass, one: Zip, row: AnyRow) -> tuple[str, str]:
    """(what is left of the file, what to do): is the site's copy there, and is it the original?"""
    url = this.settings.daq.site + row.lfn
    store = client_for(url, this.settings)
    look = store.look_many([url], checksum=True, deadline=LOOK_SECONDS)[0] if store is not None else None
    shown = names.shown(url)
    if look == Present(row.size, row.checksum):
        bad = names.shown(zips.tape_url(this.settings, one.name))  # nothing on tape is ever replaced by itself
        step = f"remove {bad} from the tape, then daq-archive --retry {names.shown(row.lfn)} zips it again"
        return f"its copy at the site is there and equal: {shown}", step
    if isinstance(look, Absent):
        return f"there is no copy of it at the site ({shown})", "ask the tape's operators for another copy; keep all that is left"
    return f"its copy at the site could not be proved ({shown})", "look at that copy, then ask the tape's operators"


def _settle(this: Pass, away: Away, done: int) -> None:
    """A tape that can't be read: 75 when nothing could be, else it is told."""
    if away and not done:
        name, why = away[0]
        raise Unavailable("tape not read", name, why, "the next night asks again", "nothing is called bad")
    for name, why in away:
        left = "it is not called bad, and stays the first of the next night"
        this.problem("tape not read", name, why=why, left=left, next="look at the tape, if it stays", failed=False)
