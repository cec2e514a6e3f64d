"""A HOME that is gone for good: what its daq-archive had under way is taken over, when a person says so.

Its zip jobs count for lost: each zip gets another attempt here, with a key and an upload of its own, so whatever the lost job
still does is in nobody's way. Its lists at the FTS servers become ours as they are: the tables have all that is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import Connection, func, select, update

from dmtools import clock
from dmtools.batch import BatchAway, room_for
from dmtools.command import Refused
from dmtools.control.passes import Pass
from dmtools.daq import told
from dmtools.daq.claiming import each, take
from dmtools.daq.home import Home
from dmtools.daq.results import Failure, again
from dmtools.daq.states import ZIPPING
from dmtools.daq.zips import Z, Zip, in_state
from dmtools.ledger import journal, tables

SILENT = timedelta(hours=1)  # daq-archive asks every few minutes
OPEN = ("cut", "TODO", "DOING", "settling")
L, J = tables.filelist.c, tables.ftsjob.c


def adopt(this: Pass, home_id: str, *, yes: bool, force: bool) -> int:
    """Takes over what the HOME of this id has under way; gives how many zips and lists. Raises Refused."""
    home = Home.of(this)
    if home_id == home.id:
        raise Refused(f"{home_id} is this HOME: daq-archive follows its jobs")
    with this.ledger.read() as connection:
        zips = [one for one in in_state(connection, ZIPPING) if _home_of(one.room) == home_id]
        lists = _lists(connection, home_id)
        asked = _last_asked(connection, home_id, zips, lists)
    if not (zips or lists):
        raise Refused(f"no HOME of the id {home_id} has zip jobs or lists under way; {_those_that_have(this, home)}")
    if asked is not None and clock.now() - asked < SILENT and not force:
        age = clock.age(max(0.0, (clock.now() - asked).total_seconds()))
        raise Refused(f"the HOME {home_id} asked for its jobs {age} ago: it lives; --force takes them over all the same")
    said = f"{len(zips)} zip jobs and {len(lists)} lists of the HOME {home_id}"
    if this.dry_run:
        this.plan(f"would take over {said}; the zips are made anew, the lists go on")
        return 0
    if not yes:
        raise Refused(
            f"{said} would be taken over; --dry-run shows the plan, --yes does it; that HOME must not come back meanwhile"
        )
    this.ledger.transact(lambda c: _take_lists(this, c, home.id, home_id))
    for ours in each(this, zips):
        _end(this, ours)
        why = f"the HOME {home_id}, which followed its job, is gone"
        steps = [again(one, Failure("lost", why, wide=True), this.settings.daq, clock.now()) for one in ours]
        told.steps(this, take(this, steps))
    return len(zips) + len(lists)


def _home_of(room: str | None) -> str:
    return (room or "").partition("/")[2]


def _lists(connection: Connection, home_id: str) -> list[int]:
    query = select(L.id).where(L.pipeline == "daq", L.state.in_(OPEN), L.home == home_id)
    return [int(number) for number in connection.execute(query).scalars()]


def _last_asked(connection: Connection, home_id: str, zips: Sequence[Zip], lists: Sequence[int]) -> datetime | None:
    """When that HOME last asked its batch system or an FTS server."""
    by_room = select(func.max(Z.polled)).where(Z.state == ZIPPING, Z.room.in_({one.room for one in zips}))
    by_list = select(func.max(J.polled)).where(J.list_id.in_(lists))
    found = [connection.execute(query).scalar() for query in (by_room, by_list)]
    return max((at for at in found if at is not None), default=None)


def _those_that_have(this: Pass, home: Home) -> str:
    with this.ledger.read() as connection:
        rooms = connection.execute(select(Z.room).where(Z.state == ZIPPING).distinct()).scalars()
        found = {_home_of(room) for room in rooms}
        query = select(L.home).where(L.pipeline == "daq", L.state.in_(OPEN)).distinct()
        found |= set(connection.execute(query).scalars())
    others = sorted(found - {home.id, ""})
    return f"those that have: {', '.join(others)}" if others else "no other HOME has any"


def _take_lists(this: Pass, connection: Connection, ours: str, home_id: str) -> None:
    """Their list files are written here by the next pass, as the tables have them."""
    found = _lists(connection, home_id)
    connection.execute(update(tables.filelist).where(L.id.in_(found), L.home == home_id).values(home=ours))
    why = f"taken over from the HOME {home_id}, which is gone"
    journal.note_many(connection, "daq", "list", found, by=this.by, at=clock.now(), why=why)


def _end(this: Pass, zips: Sequence[Zip]) -> None:
    """Has the lost jobs ended, where their batch system can be asked from here; one that goes on disturbs nobody."""
    by_name = sorted(zips, key=lambda one: one.room or "")
    for room, jobs in groupby(by_name, key=lambda one: (one.room or "").partition("/")[0]):
        if room == "local":
            continue  # those of another HOME's machine
        try:
            room_for(this.settings, room).cancel([one.key for one in jobs])
        except BatchAway as problem:
            this.log(f"lost jobs at {room} could not be ended: {problem}")
