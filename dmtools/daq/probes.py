"""What dm-train-ok asks for daq beyond the common: free DAQ disks, disks that wait, files not on tape, jobs, the proxy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dmtools import clock, names
from dmtools.control import probes, troubles
from dmtools.control.entry import Figure, Probing
from dmtools.daq import standing
from dmtools.daq.standing import DiskStands
from dmtools.transfers import credential_life

PIPELINE = {"pipeline": "daq"}


def figures(look: Probing) -> Iterator[Figure]:
    """All of them."""
    yield from credential_life.figure(look, "daq")
    yield from disks(look)
    yield from not_on_tape(look)
    yield from jobs(look)
    yield from unproved(look)


# ---- disks -------------------------------------------------------------------------------------------------------------


def disks(look: Probing) -> Iterator[Figure]:
    """How many disks the DAQ may write to; each that it may not, with what it waits for."""
    found = standing.disks(look.connection, look.settings)
    mine = [one for one in found if one.mine]
    if mine:
        yield _free(look, mine)
    for one in found:
        if one.look.trouble:
            said = f"daq: the disk {one.shown} can't be worked with: {one.look.trouble}"
            yield Figure("disk_away", _label(one), 1, said, state=probes.WARNING, see=troubles.DAQ_DISK_AWAY)
        elif not one.is_free:
            yield _waits(look, one)


def _free(look: Probing, mine: Sequence[DiskStands]) -> Figure:
    free = [one for one in mine if one.is_free]
    said = f"daq: {len(free)} of {len(mine)} disks are free for the DAQ"
    if len(free) == 1:
        said = f"daq: 1 of {len(mine)} disks is free for the DAQ"
    if len(free) <= 1:
        waiting = [f"{one.shown}: {one.said(look.at)}" for one in mine if not one.is_free]
        said = f"{said}; {'; '.join(waiting)}" if waiting else said
    warning = probes.under(2) if len(mine) > 1 else ""
    return Figure("free_disks", PIPELINE, len(free), said, "", warning, probes.under(1), see=troubles.DAQ_NO_DISK)


def _waits(look: Probing, one: DiskStands) -> Figure:
    limits = look.settings.train_ok
    seconds = look.age(one.flagged or one.since)
    said, step = f"daq: the disk {one.shown}: {one.said(look.at)}", one.step()
    ranges = (probes.over(limits.oldest_warning_seconds), probes.over(limits.oldest_critical_seconds))
    kept = probes.WARNING if one.is_kept and seconds <= limits.oldest_critical_seconds else ""
    text = f"{said}; do: {step}" if step else said
    return Figure("disk_waits", _label(one), seconds, text, "s", *ranges, state=kept, see=troubles.DAQ_KEPT)


def _label(one: DiskStands) -> dict[str, str]:
    return {**PIPELINE, "disk": one.shown}


# ---- files, jobs, zips -----------------------------------------------------------------------------------------------------


def not_on_tape(look: Probing) -> Iterator[Figure]:
    """The file that has waited longest on its way to tape."""
    row = standing.oldest_before_tape(look.connection)
    if row is None:
        yield Figure("not_on_tape", PIPELINE, 0, "daq: every file that was found is on tape, Bad or Skipped", "s")
        return
    limits, seconds = look.settings.train_ok, look.age(row.since)
    said = f"daq: the oldest file that is not on tape is {row.state} for {clock.age(seconds)}: dm-trace {names.shown(row.lfn)}"
    ranges = (probes.over(limits.oldest_warning_seconds), probes.over(limits.oldest_critical_seconds))
    yield Figure("not_on_tape", PIPELINE, seconds, said, "s", *ranges, see=troubles.DAQ_NO_DISK)


def jobs(look: Probing) -> Iterator[Figure]:
    """Zip jobs that their batch system holds, those that it refuses, and those that it lost."""
    held = [row for row in standing.jobs(look.connection) if row.next_try is not None]
    said = "daq: no zip job is held"
    if held:
        said = f"daq: {len(held)} zip jobs are held, the oldest for {names.shown(held[0].name)}: {held[0].reason}"
    yield Figure("jobs_held", PIPELINE, len(held), said, "", probes.over(0), see=troubles.DAQ_JOBS)
    yield _unfollowed(look)
    refused = standing.refused_jobs(look.connection)
    said = "daq: no zip job is refused"
    if refused:
        said = f"daq: {len(refused)} zip jobs are refused, as that for {names.shown(refused[0].name)}: {refused[0].reason}"
    yield Figure("jobs_refused", PIPELINE, len(refused), said, "", probes.over(0), see=troubles.DAQ_REFUSED)
    lost = standing.lost_jobs(look.connection)
    said = "daq: no zip job is lost"
    if lost:
        said = (
            f"daq: {len(lost)} zip jobs were lost and are done again, as that for {names.shown(lost[0].name)}: {lost[0].reason}"
        )
    yield Figure("jobs_lost", PIPELINE, len(lost), said, "", probes.over(0), see=troubles.DAQ_JOBS)


def _unfollowed(look: Probing) -> Figure:
    """Zip jobs of a HOME that is silent: nobody books what became of them."""
    found = standing.unfollowed(look.connection, look.settings, look.at)
    number, said = sum(map(len, found.values())), "daq: every zip job is followed"
    for home, rows in found.items():
        age = clock.age(look.age(max(row.polled or row.since for row in rows)))
        said = f"daq: {len(rows)} zip jobs are followed by nobody: the HOME {home} asked for them {age} ago; "
        said += f"if it is gone for good: daq-archive --adopt {home}"
    return Figure("jobs_unfollowed", PIPELINE, number, said, "", probes.over(0), see=troubles.DAQ_JOBS)


def unproved(look: Probing) -> Iterator[Figure]:
    """Zips that the tape should have by now and has not proved."""
    late = standing.unproved(look.connection, look.settings, look.at)
    said = "daq: no zip waits too long for the tape"
    if late:
        first = late[0]
        reason = f": {first.reason}" if first.reason else ""
        said = f"daq: {len(late)} zips are not proved on tape within archive_timeout, the oldest for "
        said += f"{clock.age(look.age(first.since))}: dm-trace {names.shown(first.name)}{reason}"
    yield Figure("not_proved", PIPELINE, len(late), said, "", probes.over(0), see=troubles.DAQ_UNPROVED)
