"""What dm-monitoring asks of lta: the lines of the original, the disks in their slots, free space, what is stuck, duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from dmtools import clock, names
from dmtools.control import figures, holds
from dmtools.control.display import size
from dmtools.control.entry import Buffer, Note, Pipeline, Probing, Question, Stuck
from dmtools.ledger import tables
from dmtools.lta import standing
from dmtools.lta import states as s
from dmtools.lta.api import LOCAL

COUNTED = tuple(state.name for state in s.STATES.states)  # as the seed has them, and Quarantined
GB = 1_000_000_000


def buffers(look: Probing) -> Iterator[Buffer]:
    """HOME's disk, outbound, warehouse, and what lies here of the remote site; else what that posted."""
    lta = look.settings.lta
    yield Buffer("HOME", look.settings.home)
    if lta.url:
        own = (("remote buffer", lta.remote_buffer, "remote/buffer"), ("export", lta.remote_export, "remote/export"))
    else:
        own = (("outbound", lta.outbound, "outbound"), ("warehouse", lta.warehouse, "warehouse"))
    for name, text, default in own:
        path = standing.directory(text, look.settings, default)
        if path is not None and path.is_dir():
            yield Buffer(name, path)


def duplicates(look: Probing) -> list[str]:
    """Bundles that go to one site twice."""
    return [names.shown(ideal) for ideal in standing.twice(look.connection)]


# ---- the lines of the original


def notes(look: Probing) -> Iterator[Note]:
    """The original's lines in its order, then a line for each disk that is dumped or set aside and each bad slot."""
    if look.settings.lta.url:
        said = "the tables are there, and what is going on is told there: dm-monitoring lta"
        yield Note("server", look.settings.lta.url, "", said)
        return
    yield from _sites(look)
    yield _dump(look)
    yield _directories(look)
    yield Note("DiskStatuses=", "", "", _counts(standing.counted(look.connection, tables.lta_disk, s.DISK_STATES.names())))
    number, _bytes = figures.counts(look.connection, look.entry or _entry())
    yield Note("BundleStatusCounts=", "", "", _counts({state: number.get(state, 0) for state in COUNTED}))
    found = len(standing.twice(look.connection))
    yield Note("Duplicate bundle transfers=", "", "", f"  {found}", well=not found)
    yield from _disks(look)


def _entry() -> Pipeline:
    from dmtools.lta.register import PIPELINE

    return PIPELINE


def _sites(look: Probing) -> Iterator[Note]:
    held = standing.holders(look.connection, look.at)
    for one in standing.sites(look.connection, look.settings):
        free = "" if one.free is None else f"{one.free / GB:.0f}"
        said = f"   {one.state or 'UNKNOWN'} | {one.error} | {free} | {_when(one.at, look.at)}"
        silent = one.at is None or (look.at - one.at) > timedelta(minutes=look.settings.lta.silent_minutes)
        yield Note(f"{one.label}Status=", "", one.state, said, well=one.state == "Run" and not silent)
        if one.name == look.settings.lta.destination != LOCAL:
            yield Note(f"{one.label}Token=", "", "", f"   {', '.join(held) or 'NULL'} at {_when(one.at, look.at)}")


def _when(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "never"
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z  {max(0, round((now - at).total_seconds() / 60))}"


def _dump(look: Probing) -> Note:
    """Dumping, Idle or Error => what comes next; when the last pass began."""
    count = standing.counted(look.connection, tables.lta_disk, s.DISK_STATES.names())
    column = tables.component.c
    query = select(column.last_start).where(column.pipeline == "lta", column.name == "dump-control")
    last = look.connection.execute(query).scalar()
    word = holds.in_force(holds.open_holds(look.connection, look.settings, look.at), "lta", "dump-control")
    state = "Dumping" if count[s.DUMPING] else "Error" if count[s.ERROR] else "Idle"
    following = "Dump" if word == "run" else "Pause"
    more = " | LOAD MORE DISKS" if last is not None and needs_disks(count) else ""
    return Note(
        "DiskDumpStatus=",
        "",
        state,
        f"   {state}=>{following} | {_when(last, look.at)}{more}",
        well=state != "Error" and not more,
    )


def needs_disks(count: dict[str, int]) -> bool:
    """Is nothing left to dump, though disks are in the slots? Those that are Removed say nothing: perhaps no more are to come."""
    there = sum(n for state, n in count.items() if state != s.REMOVED)
    return there > 0 and not count[s.INVENTORIED] and not count[s.DUMPING]


def _directories(look: Probing) -> Note:
    count = standing.counted(look.connection, tables.lta_directory, s.DIRECTORY_STATES.names())
    done = count[s.LTA_REQUEST] + count[s.NEVER_DELETE]
    parts = {
        "total": sum(count.values()), "unstaged": count[s.UNCLAIMED], "staged": count[s.PROCESSING], "done": done,
        "cleaned": count[s.FILES_DELETED], "problem": count[s.PROBLEM], "deprecated": count[s.DEPRECATED],
    }  # fmt: skip
    return Note(
        "FullDirectories=", "", "", "   " + " | ".join(f"{name}:{n}" for name, n in parts.items()), well=not count[s.PROBLEM]
    )


def _counts(count: dict[str, int]) -> str:
    return "    " + "".join(f"| {state}:{n} " for state, n in count.items()).rstrip()


def _disks(look: Probing) -> Iterator[Note]:
    for row in standing.disks(look.connection, (s.DUMPING, s.ERROR)):
        said = row.reason or "no reason was kept"
        if row.state == s.DUMPING:
            of = "" if row.files is None else f" of {row.files}"
            said = f"{row.files_done}{of} files, {size(row.bytes_done)}, for {clock.age(look.age(row.begun or row.since))}"
        yield Note(
            "disk", row.uuid, row.state, f"{said}{' in ' + names.shown(row.slot) if row.slot else ''}", row.state != s.ERROR
        )
    for slot in standing.slots(look.connection):
        if slot.state == "bad":
            yield Note("slot", names.shown(slot.path), "bad", slot.reason or "no reason was kept", well=False)


# ---- what doesn't move


def stuck(look: Probing) -> Iterator[Stuck]:
    """Quarantined bundles, directories with a problem, disks set aside, errands in trouble; then bundles that stand still."""
    from dmtools.lta import trace_bundle, traces

    question = Question("", look.settings, look.connection, look.at, entry=look.entry)
    for row in standing.first(look.connection, tables.lta_bundle, s.QUARANTINED, standing.FEW):
        yield _of(trace_bundle.of_bundle(question, row), row.since)
    for row in standing.first(look.connection, tables.lta_directory, s.PROBLEM, standing.FEW):
        yield _of(traces.of_directory(question, row), row.since)
    for row in standing.first(look.connection, tables.lta_disk, s.ERROR, standing.FEW):
        yield _of(traces.of_disk(question, row), row.since)
    late = look.at - timedelta(hours=look.settings.train_ok.stuck_hours)
    for state in (look.entry or _entry()).open:
        for row in standing.first(look.connection, tables.lta_bundle, state):
            if row.since < late:
                yield _of(trace_bundle.of_bundle(question, row), row.since)


def _of(life: object, since: datetime) -> Stuck:
    from dmtools.control.entry import Trace

    assert isinstance(life, Trace)
    return Stuck(life.subject, life.kind, life.state, since, life.why, life.next)
