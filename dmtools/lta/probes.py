"""What dm-train-ok asks for lta beyond the common: both sites, what waits for people, room, disks, directories, the audit.

A probe that fails is UNKNOWN for itself alone: it hides no other, and takes nothing down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sqlalchemy import exc

from dmtools import clock, names
from dmtools.control import figures as kept
from dmtools.control import probes, troubles
from dmtools.control.entry import Figure, Pipeline, Probing
from dmtools.ledger import tables
from dmtools.lta import outlook, standing
from dmtools.lta import states as s
from dmtools.lta.api import LOCAL
from dmtools.transfers import credential_life

PIPELINE = {"pipeline": "lta"}
WARN_WAITING = 20  # bundles that wait for people, as the original has it
GB = 1_000_000_000


def figures(look: Probing) -> Iterator[Figure]:
    """All of them, each by itself."""
    yield from each(look, "credentials", lambda one: credential_life.figure(one, "lta"))
    if look.settings.lta.url:
        return  # the tables, and those who look at them, are elsewhere
    for name, probe in PROBES.items():
        yield from each(look, name, probe)


def each(look: Probing, name: str, probe: Callable[[Probing], Iterable[Figure]]) -> list[Figure]:
    """What a probe finds; UNKNOWN under its own name when it fails. A database that fails is so for the whole check."""
    try:
        return list(probe(look))
    except exc.DBAPIError:
        raise
    except Exception as problem:  # noqa: BLE001 - a check tells its own failure
        said = f"lta: {name} can't be told: {type(problem).__name__}: {problem}"
        return [Figure("failed", {**PIPELINE, "probe": name}, None, said, state=probes.UNKNOWN)]


# ---- sites


def sites(look: Probing) -> Iterator[Figure]:
    """Each site's own word, and how long ago it posted it."""
    silent = look.settings.lta.silent_minutes * 60
    for one in standing.sites(look.connection, look.settings):
        labels, age = {**PIPELINE, "site": one.name}, one.age(look.at)
        remote = one.name != LOCAL
        page = troubles.LTA_REMOTE if remote else troubles.LTA_LOCAL
        who = "lta-nersc-client" if remote else "lta-bundle-scanner"
        if age is None:
            said = f"lta: {one.name} has not posted anything yet: does {who} run there?"
            yield Figure("site_silent", labels, None, said, "s", state=probes.WARNING, see=page)
            continue
        said = f"lta: {one.name} posted {one.state} {clock.age(age)} ago"
        yield Figure("site_silent", labels, age, said, "s", probes.over(silent), probes.over(3 * silent), see=page)
        bad = one.state != "Run"
        text = f"lta: {one.name} is {one.state}: {one.error or 'no reason is given'}" if bad else f"lta: {one.name} is well"
        state = probes.OK if not bad else probes.CRITICAL if one.state == "Error" else probes.UNKNOWN
        yield Figure("site_error", labels, int(bad), text, state=state, see=page)


def room(look: Probing) -> Iterator[Figure]:
    """What is free at each site, as it posted that: at a remote one the next bundle must find room; what its quota leaves."""
    (following, *_more) = standing.first(look.connection, tables.lta_bundle, s.UNTOUCHED) or [None]
    for one in standing.sites(look.connection, look.settings):
        if one.at is None:
            continue
        labels = {**PIPELINE, "site": one.name}
        if one.free is None:
            said = f"lta: what is free at {one.name} is not known: it was not posted"
            yield Figure("site_free", labels, None, said, "B", see=troubles.LTA_ROOM)
            continue
        least = following.size if following is not None and one.name != LOCAL else 1
        said = f"lta: {one.free / GB:.1f} GB are free at {one.name}"
        said += f", and the next bundle has {least / GB:.1f} GB" if one.free < least else ""
        warning, critical = probes.under(least), probes.under(1)
        yield Figure("site_free", labels, one.free, said, "B", warning, critical, see=troubles.LTA_ROOM)
        if one.quota:
            share = 100 * max(0, one.quota - one.reserved) / one.quota
            said = f"lta: {share:.0f} % of the quota of {one.name} are free, {one.reserved / GB:.1f} GB are reserved"
            yield Figure("quota_free", labels, round(share, 2), said, "%")


# ---- bundles


def _count(look: Probing, *states: str) -> int:
    number, _bytes = kept.counts(look.connection, look.entry or _entry())
    return sum(number.get(state, 0) for state in states)


def _entry() -> Pipeline:
    from dmtools.lta import register

    return register.PIPELINE


def quarantined(look: Probing) -> Iterator[Figure]:
    """Bundles that need a person."""
    n, said = _count(look, s.QUARANTINED), "lta: no bundle is quarantined"
    if n:
        (first, *_more) = standing.first(look.connection, tables.lta_bundle, s.QUARANTINED) or [None]
        said = f"lta: {n} bundles are quarantined"
        said += f", the oldest {standing.shown(first)}: {first.reason or 'no reason was kept'}" if first is not None else ""
    yield Figure("quarantined", PIPELINE, n, said, "", probes.over(0), see=troubles.LTA_QUARANTINED)


def problems(look: Probing) -> Iterator[Figure]:
    """Bundles that failed and are tried again by themselves."""
    for state in standing.PROBLEMS:
        n, said = _count(look, state), f"lta: no bundle is {state}"
        if n:
            (first, *_more) = standing.first(look.connection, tables.lta_bundle, state) or [None]
            said = f"lta: {n} bundles are {state}"
            said += f", the oldest {standing.shown(first)}: {first.reason or 'no reason was kept'}" if first is not None else ""
        yield Figure("problems", {**PIPELINE, "state": state}, n, said, "", probes.over(0), see=troubles.LTA_PROBLEM)


def waiting(look: Probing) -> Iterator[Figure]:
    """Bundles that are proved, and wait until a person makes room here."""
    steps = {s.NERSC_CLEAN: "lta-manual-bundle", s.LOCAL_DELETED: "lta-manual-files"}
    for state, step in steps.items():
        n = _count(look, state)
        said = f"lta: {n} bundles are {state}" + (f" and wait for a person: {step}" if n else "")
        yield Figure(
            "waits_for_person", {**PIPELINE, "state": state}, n, said, "", probes.over(WARN_WAITING), see=troubles.LTA_WAITS
        )


# ---- disks and directories


def disks(look: Probing) -> Iterator[Figure]:
    """Disks that are set aside, dumps that take too long, slots that are bad, and whether there is one to dump at all."""
    count = standing.counted(look.connection, tables.lta_disk, s.DISK_STATES.names())
    for row in standing.disks(look.connection, (s.ERROR,)):
        said = f"lta: the disk {row.uuid} is set aside: {row.reason or 'no reason was kept'}"
        yield Figure("disk_error", {**PIPELINE, "disk": row.uuid}, 1, said, state=probes.CRITICAL, see=troubles.LTA_DISK)
    for row in standing.disks(look.connection, (s.DUMPING,)):
        age = look.age(row.begun or row.since)
        said = f"lta: the dump of the disk {row.uuid} takes {clock.age(age)}: {row.files_done} files so far"
        limit = probes.over(look.settings.lta.dump_hours * 3600)
        yield Figure("dump_age", {**PIPELINE, "disk": row.uuid}, age, said, "s", limit, see=troubles.LTA_DISK)
    for slot in standing.slots(look.connection):
        if slot.state == "bad":
            said = f"lta: the slot {names.shown(slot.path)} is bad: {slot.reason or 'no reason was kept'}"
            yield Figure(
                "slot_bad", {**PIPELINE, "slot": names.shown(slot.path)}, 1, said, state=probes.WARNING, see=troubles.LTA_DISK
            )
    ready, empty = count[s.INVENTORIED] + count[s.DUMPING], outlook.needs_disks(count)
    said = "lta: no disk is left to dump: LOAD MORE DISKS" if empty else f"lta: {ready} disks are dumped or wait for it"
    yield Figure("disks_to_dump", PIPELINE, ready, said, "", probes.under(1) if empty else "", see=troubles.LTA_LOAD)


def directories(look: Probing) -> Iterator[Figure]:
    """Directories that need a person, and those that wait to be bundled."""
    count = standing.counted(look.connection, tables.lta_directory, s.DIRECTORY_STATES.names())
    n, said = count[s.PROBLEM], "lta: no directory has a problem"
    if n:
        (first, *_more) = standing.first(look.connection, tables.lta_directory, s.PROBLEM)
        said = f"lta: {n} directories have a problem, the oldest {standing.shown(first)}: {first.reason or 'no reason was kept'}"
    yield Figure("directory_problem", PIPELINE, n, said, "", probes.over(0), see=troubles.LTA_DIRECTORY)
    waiting = count[s.UNCLAIMED]
    yield Figure("directories_unclaimed", PIPELINE, waiting, f"lta: {waiting} full directories wait to be bundled")


# ---- what is on tape


def fixity(look: Probing) -> Iterator[Figure]:
    """Bundles whose tape copy differs, and those that are never read again."""
    count = standing.counted(look.connection, tables.lta_errand, s.ERRAND_STATES.names())
    for state, what in (
        (s.FIXITY_PROBLEM, "the audit found other bytes on tape, or none"),
        (s.RETRIEVE_PROBLEM, "it can't come back"),
    ):
        n, said = count[state], f"lta: no errand is {state}"
        if n:
            (first, *_more) = standing.first(look.connection, tables.lta_errand, state)
            said = f"lta: {n} errands are {state}, {what}: bundle {first.bundle_id}: {first.reason or 'no reason was kept'}"
        critical = state == s.FIXITY_PROBLEM
        limits = ("", probes.over(0)) if critical else (probes.over(0), "")
        yield Figure("errand_problem", {**PIPELINE, "state": state}, n, said, "", *limits, see=troubles.LTA_AUDIT)


PROBES: dict[str, Callable[[Probing], Iterable[Figure]]] = {
    "sites": sites,
    "room": room,
    "quarantined": quarantined,
    "problems": problems,
    "waiting": waiting,
    "disks": disks,
    "directories": directories,
    "fixity": fixity,
}
