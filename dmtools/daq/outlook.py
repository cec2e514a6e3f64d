"""What dm-monitoring asks of daq: the places it fills, how disks and jobs stand, what doesn't move and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import select

from dmtools import clock, names
from dmtools.control.entry import Buffer, Note, Probing, Question, Stuck, Trace
from dmtools.daq import standing
from dmtools.daq.states import AT_SITE, ON_TAPE, TO_TAPE, ZIPPED, ZIPPING
from dmtools.ledger import tables
from dmtools.names import NameRefused, path_of

F = tables.daq_file.c
FEW = 3


def buffers(look: Probing) -> Iterator[Buffer]:
    """HOME's disk, and those of site, tape and scratch that are directories here. A DAQ disk is meant to be full: it is none."""
    daq = look.settings.daq
    yield Buffer("HOME", look.settings.home)
    for name, url, fills in (("site", daq.site, (AT_SITE,)), ("zips", daq.zips, ()), ("tape", daq.tape, (ON_TAPE,))):
        try:
            path = path_of(url)
        except NameRefused:
            continue
        if path.is_dir() or name != "zips":
            yield Buffer(name, path, fills)
    if daq.scratch and daq.batch == "local":
        yield Buffer("scratch", look.settings.path(daq.scratch))


def notes(look: Probing) -> Iterator[Note]:
    """A line a disk, and one for the zip jobs when there are any."""
    for disk in standing.disks(look.connection, look.settings):
        said, step = disk.said(look.at), disk.step()
        well = not disk.look.trouble and not disk.is_kept
        yield Note("disk", disk.shown, disk.state, said + (f"; do: {step}" if step else ""), well)
    jobs = standing.jobs(look.connection)
    lost, refused = standing.lost_jobs(look.connection), standing.refused_jobs(look.connection)
    if jobs or lost:
        held = [row for row in jobs if row.next_try is not None]
        unsent = len([row for row in jobs if row.submitted is None]) - len(refused)
        parts = [f"{len(jobs)} of at most {look.settings.daq.max_jobs} open"]
        parts += [f"{len(held)} held ({held[0].reason})"] if held else []
        parts += [f"{len(refused)} refused ({refused[0].reason})"] if refused else []
        parts += [f"{unsent} not known to be submitted"] if unsent > 0 else []
        parts += [f"{len(lost)} lost, to be done again"] if lost else []
        parts += [f"the oldest for {clock.age(look.age(jobs[0].since))}"] if jobs else []
        yield Note("jobs", look.settings.daq.batch, ZIPPING, ", ".join(parts), well=not (held or refused))


def stuck(look: Probing) -> Iterator[Stuck]:
    """Disks that only a person can empty, held jobs, zips that are not proved in time, files that stand still, Bad ones."""
    for disk in standing.disks(look.connection, look.settings):
        if disk.is_kept or disk.look.trouble:
            yield Stuck(disk.shown, "disk", disk.state, disk.flagged or disk.since, disk.said(look.at), disk.step())
    question = Question("", look.settings, look.connection, look.at, entry=look.entry)
    late = look.at - timedelta(hours=look.settings.train_ok.stuck_hours)
    held = [row for row in standing.jobs(look.connection) if row.next_try is not None]
    zips = [*held, *standing.refused_jobs(look.connection), *standing.unproved(look.connection, look.settings, look.at)]
    yield from (_of(life, row.since) for row in zips[:FEW] for life in _zip(question, row.name))
    for state in (*standing.WAITS,):
        if state in (ZIPPING, ZIPPED, TO_TAPE):
            continue  # the zip of such a file is told above, when it is late
        query = select(F.id, F.since).where(F.state == state, F.since < late).order_by(F.since).limit(1)
        yield from (_of(_file(question, row.id), row.since) for row in look.connection.execute(query))
    yield from (_of(_file(question, row.id), row.since) for row in standing.bad(look.connection, FEW))


def duplicates(look: Probing) -> Iterator[str]:
    """Lists of zips that go to tape twice at once."""
    from dmtools.transfers import twice

    yield from twice.lists(look.connection, "daq")


def _of(life: Trace, since: object) -> Stuck:
    from datetime import datetime

    assert isinstance(since, datetime)
    return Stuck(life.subject, life.kind, life.state, since, life.why, life.next)


def _zip(question: Question, name: str) -> Iterator[Trace]:
    from dmtools.daq import trace_zip

    yield from trace_zip.by_name(question, names.key(name))


def _file(question: Question, number: int) -> Trace:
    from dmtools.daq import trace_file

    row = question.connection.execute(select(tables.daq_file).where(F.id == number)).one()
    return trace_file.of_file(question, row)
