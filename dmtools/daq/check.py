"""dm-check for daq: the tables among themselves, against disks, jobs, lists; with --storage against site and tape. Reads only."""

from __future__ import annotations

import os
from collections.abc import Iterator

from sqlalchemy import Connection, exists, func, or_, select

from dmtools import names
from dmtools.control import checking
from dmtools.control.checking import Counts, Finding, Inspection
from dmtools.control.passes import Pass
from dmtools.daq import standing
from dmtools.daq import states as s
from dmtools.daq.disks import Look
from dmtools.daq.home import Home
from dmtools.daq.lfn import NO_FILES, Naming
from dmtools.daq.rows import Maker, Row
from dmtools.daq.zips import FILES
from dmtools.ledger import tables
from dmtools.spool import folders as at
from dmtools.spool.folders import Folders, known_id
from dmtools.storage.answers import StorageError
from dmtools.storage.walking import Walk
from dmtools.transfers import check_lists

D, F, L, Z = tables.daq_disk.c, tables.daq_file.c, tables.filelist.c, tables.daq_zip.c
IN_ZIP = (s.ZIPPING, s.ZIPPED, s.TO_TAPE)
EXAMPLES = 20  # of one kind and disk


def finding(rule: str, subject: str, says: str, mend: str = "", next: str = "", item: int = 0) -> Finding:
    """A disagreement of daq."""
    return Finding("daq", rule, subject, says, mend, next, item=item)


def note(rule: str, subject: str, says: str, next: str = "") -> Finding:
    """Something that a pass settles: no disagreement."""
    return Finding("daq", rule, subject, says, next=next, note=True)


def home_of(this: Pass) -> Home:
    """The HOME that is looked at; nothing is made."""
    return Home(known_id(this.home), Folders(this.home, "daq"))


def check(inspection: Inspection) -> Iterator[Finding]:
    """Every disagreement of this HOME's daq part."""
    this = inspection.this
    home = home_of(this)
    with this.ledger.read() as connection:
        if _tables_are_new(connection) and (left := _was_here(home)):
            yield note("tables-new", "HOME/daq", f"{left}, and the tables know no DAQ disk", LOST)
            return
        yield from checking.compare_counts("daq", checking.tally_of(connection, "daq"), counted(connection))
        yield from _zips(connection)
        yield from _unzipped(connection)
        yield from _keys(connection)
    yield from _jobs(this, home)
    yield from check_lists.misplaced(this, "daq", home.id, home.folders)
    yield from _disks(this)
    yield from checking.leftovers(this, "daq", [home.folders.root / folder for folder in at.ALL])
    if inspection.storage != "no":
        from dmtools.daq import check_storage

        yield from check_storage.check(this, inspection.storage, inspection.seed)


LOST = (
    "nothing is lost: flag the disks again, and files that are still there are recorded anew, their copies at the site and on "
    "tape are found equal and taken as done; what left its disk before comes back by: daq-restore --without-tables"
)


def _tables_are_new(connection: Connection) -> bool:
    return connection.execute(select(D.id).limit(1)).first() is None


def _was_here(home: Home) -> str:
    """What says that daq worked in this HOME before."""
    jobs = len(os.listdir(home.jobs)) if home.jobs.is_dir() else 0
    done = sum(len(home.folders.names(folder)) for folder in at.ALL) if home.folders.root.is_dir() else 0
    return f"{jobs} directories of zip jobs and {done} lists are here" if jobs or done else ""


# ---- rows


def counted(connection: Connection) -> Counts:
    """The counts by the rows."""
    query = select(F.state, func.count(), func.coalesce(func.sum(F.size), 0)).group_by(F.state)
    return {state: (int(n), int(size)) for state, n, size in connection.execute(query)}


def _zips(connection: Connection) -> Iterator[Finding]:
    """Files that stand elsewhere than their zip."""
    query = select(Z.id, Z.name, Z.state, F.state.label("of_file"), func.count().label("n"))
    query = query.join_from(tables.daq_zip, tables.daq_file, F.zip_id == Z.id).where(Z.state != s.CLEANED, Z.state != s.BAD)
    for row in connection.execute(query.group_by(Z.id, Z.name, Z.state, F.state)):
        fits = {FILES[row.state], *((s.FREED,) if row.state == s.ON_TAPE else ())}
        if row.of_file not in fits:
            says = f"the zip is {row.state}, {row.n} of its files are {row.of_file}"
            yield finding(
                "zip-and-files", names.shown(row.name), says, next=f"dm-trace {names.shown(row.name)}; no rule mends this"
            )


def _unzipped(connection: Connection) -> Iterator[Finding]:
    """Files whose zip has no row: nobody would take them any further."""
    gone = ~exists(select(Z.id).where(Z.id == F.zip_id))
    query = select(F.id, F.lfn, F.state).where(or_(F.state.in_(IN_ZIP), (F.state == s.AT_SITE) & F.zip_id.is_not(None)), gone)
    for row in connection.execute(query):
        says = f"it is {row.state}, and its zip has no row"
        yield finding("no-zip", names.shown(row.lfn), says, "it is AtSite again, and zipped anew", item=row.id)
    on_tape = select(F.id, F.lfn, F.state).where(F.state == s.ON_TAPE, or_(F.zip_id.is_(None), gone))
    for row in connection.execute(on_tape):
        says = "it is OnTape, and no zip has it in the tables: that it is on tape can't be proved"
        yield finding("no-zip", names.shown(row.lfn), says, next="look at the tape; it stays on its disk", item=row.id)


def _keys(connection: Connection) -> Iterator[Finding]:
    """Files on a disk that the tables don't know, or that are freed and still have a place."""
    gone = ~exists(select(D.id).where(D.id == F.disk_id))
    for row in connection.execute(select(F.disk_id, func.count().label("n")).where(gone).group_by(F.disk_id)):
        says = f"{row.n} files belong to it, and it has no row"
        yield finding("no-disk", f"disk {row.disk_id}", says, next="put the tables back from a backup: dm-db backup makes one")
    freed = (F.state == s.FREED) & or_(F.place_key.is_not(None), F.freed.is_(None))
    for row in connection.execute(select(F.lfn).where(freed).limit(EXAMPLES)):
        yield finding(
            "freed-with-place", names.shown(row.lfn), "it is Freed, and the tables have it on its disk still", next="dm-trace"
        )


# ---- jobs and lists of this HOME


def _jobs(this: Pass, home: Home) -> Iterator[Finding]:
    """Directories without an open job, open jobs without a directory."""
    there = {entry.name for entry in os.scandir(home.jobs) if entry.is_dir()} if home.jobs.is_dir() else set()
    with this.ledger.read() as connection:
        query = select(Z.id, Z.name, Z.job_key, Z.room).where(Z.state == s.ZIPPING)
        rows = [row for row in connection.execute(query) if (row.room or "").endswith(f"/{home.id}")]
        known = set(connection.execute(select(Z.job_key).where(Z.job_key.in_(there))).scalars()) if there else set()
    held = checking.held(this)
    for row in rows:
        if row.job_key not in there and f"zip/{row.id}" not in held:
            says = f"its job {row.job_key} is open, and daq/jobs/{row.job_key} is gone"
            yield note("no-job-directory", names.shown(row.name), says, "the next passes of daq-archive do the job again")
    unknown = sorted(there - known)
    if unknown:
        says = f"{len(unknown)} directories of jobs that no zip has as its last one, such as {unknown[0]}"
        yield note("job-left", "daq/jobs", says, "daq-archive removes those that have ended; what it can't read stays")


# ---- disks


def _disks(this: Pass) -> Iterator[Finding]:
    """Disks of this HOME against their rows: those that are worked on, and only while they answer."""
    with this.ledger.read() as connection:
        found = [one for one in standing.disks(connection, this.settings) if one.mine]
    for one in found:
        if one.look.trouble:
            yield note("disk-away", one.shown, f"it can't be looked at: {one.look.trouble}", "mount it, then look again")
        elif one.state == s.EMPTYING:
            yield from _disk(this, one.id, one.path, one.shown, one.look)


def _disk(this: Pass, disk: int, path: str, shown: str, look: Look) -> Iterator[Finding]:
    """Rows without a file, files without a row, what killed deletes left."""
    walk = Walk(names.decode(path), this.settings.daq.disk_seconds, Maker(disk, Naming(this.settings.daq)).rows, skip=NO_FILES)
    there: set[bytes] = set()
    try:
        for batch in walk.rows():
            there.update(Row(*row).place_key for row in batch)
    except StorageError as problem:
        yield note("disk-away", shown, problem.reason, "mount it, then look again")
        return
    if not look.flagged:
        says = "its flag ReadyToTransfer is gone: nothing of it is removed or handed back"
        yield note("no-flag", shown, says, "mount it; or, if a person took the flag away: touch it again")
        return
    absent, told = 0, ""
    with this.ledger.read() as connection:
        columns = (F.place_key, F.path, F.state, F.lfn, F.id)
        query = select(*columns).where(F.disk_id == disk, F.freed.is_(None), F.state != s.FREED).execution_options(yield_per=5000)
        known: set[bytes] = set()
        for row in connection.execute(query):
            known.add(row.place_key)
            if row.place_key not in there and not walk.aside:
                absent, told = absent + 1, told or f"{names.shown(row.path)}, which is {row.state}"
    if absent:
        says = f"{absent} files of the tables are not there, such as {told}"
        yield note("gone-from-disk", shown, says, "the next pass of daq-transfer books what became of them, by their states")
    if new := len(there - known):
        yield note("not-scanned-yet", shown, f"{new} files have no row", "the next scan records them")
    for place in walk.aside[:EXAMPLES]:
        says = "a file whose removal was cut short: it stands beside itself under this name"
        yield note(
            "half-removed", f"{shown}/{names.shown(names.encode(place))}", says, "the next pass removes it, or puts it back"
        )
