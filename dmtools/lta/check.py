"""dm-check for lta: the tables among themselves, against outbound, manifests, lists; with --storage also bytes. Reads only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, func, or_, select

from dmtools import names
from dmtools.control import checking
from dmtools.control.checking import Counts, Finding, Inspection
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow
from dmtools.lta import outbound
from dmtools.lta import states as s
from dmtools.spool import folders as at
from dmtools.spool.folders import Folders, known_id
from dmtools.storage.answers import StorageError
from dmtools.storage.walking import Files, Walk
from dmtools.transfers import check_lists

B, F, R, D = tables.lta_bundle.c, tables.lta_file.c, tables.lta_directory.c, tables.lta_disk.c
# While a bundle is in one of these its zip must be in outbound.
_MAY_LACK_IT = (s.ABORT, s.QUARANTINED, s.LOCAL_DELETED, s.LOCAL_FILES_DELETED)
WITH_ZIP = tuple(state for state in s.STATES.names() if state not in _MAY_LACK_IT)
EXAMPLES = 20  # of one kind
STALL_SECONDS = 60.0
LOST = (
    "nothing is lost: --repair adds the zips that are here anew, with their manifests; what the buffer or the tape has of them "
    "already is found there, equal, and taken as done; bundles whose zip is gone here are on tape alone: lta-dirinfo --offline "
    "finds a file in manifests, and a backup of the tables (dm-db backup) has them all"
)


def finding(rule: str, subject: str, says: str, mend: str = "", next: str = "", item: int = 0) -> Finding:
    """A disagreement of lta."""
    return Finding("lta", rule, subject, says, mend, next, item=item)


def note(rule: str, subject: str, says: str, next: str = "", mend: str = "") -> Finding:
    """Something that a pass settles: no disagreement."""
    return Finding("lta", rule, subject, says, mend, next=next, note=True)


def check(inspection: Inspection) -> Iterator[Finding]:
    """Every disagreement of this HOME's lta part."""
    this = inspection.this
    folders = Folders(this.home, "lta")
    yield from checking.leftovers(this, "lta", [folders.root / folder for folder in at.ALL])
    if this.settings.lta.url:
        return  # the tables are elsewhere, and are checked there
    with this.ledger.read() as connection:
        if is_new(connection) and (zips := _zips_here(this)):
            says = f"{zips} zips are in outbound, and the tables know no bundle"
            yield note("tables-new", "outbound", says, LOST, "they are added with their manifests")
            return
        yield from checking.compare_counts("lta", checking.tally_of(connection, "lta"), counted(connection))
        yield from _reserved(connection)
        yield from _keys(connection)
        yield from _manifests(connection)
        yield from _directories(connection)
    yield from check_lists.misplaced(this, "lta", known_id(this.home), folders)
    yield from _outbound(this)
    yield from _disks(this)
    if inspection.storage != "no":
        from dmtools.lta import check_storage

        yield from check_storage.check(this, inspection.storage, inspection.seed)


def is_new(connection: Connection) -> bool:
    """Does the table know no bundle at all?"""
    return connection.execute(select(B.id).limit(1)).first() is None


def _zips_here(this: Pass) -> int:
    """How many zips are in outbound, when something says that lta worked in this HOME before; else none, for they are new."""
    folders = Folders(this.home, "lta")
    worked = (this.home / "lta/plans").is_dir() or any((folders.root / name).is_dir() and folders.names(name) for name in at.ALL)
    return sum(1 for _ in zips_of(this)) if worked else 0


def zips_of(this: Pass) -> Iterator[tuple[str, int]]:
    """(ideal name, size) of every zip in outbound. Raises StorageError."""
    walk = Walk(outbound.root(this.settings), STALL_SECONDS, _named, hidden=False)
    for some in walk.rows():
        yield from some


def _named(found: Files) -> list[tuple[str, int]]:
    """In the process of the walk."""
    directory, entries = found
    before = directory + b"/" if directory else b""
    zips = (entry for entry in entries if entry[0].endswith(b".zip"))
    return [(outbound.ideal_of(before + entry[0]), entry[1]) for entry in zips]


# ---- rows


def counted(connection: Connection) -> Counts:
    """The counts by the rows."""
    query = select(B.state, func.count(), func.coalesce(func.sum(B.size), 0)).group_by(B.state)
    return {state: (int(n), int(size)) for state, n, size in connection.execute(query)}


def reserved(connection: Connection) -> dict[str, int]:
    """What the bundles for each destination have reserved together, in bytes."""
    query = select(B.destination, func.sum(B.reserved)).where(B.reserved > 0).group_by(B.destination)
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def _reserved(connection: Connection) -> Iterator[Finding]:
    held = reserved(connection)
    for row in connection.execute(select(tables.lta_site.c.name, tables.lta_site.c.reserved)):
        if row.reserved != held.get(row.name, 0):
            says = f"{row.reserved} bytes of it are reserved, its bundles have {held.get(row.name, 0)}"
            yield finding("reserved", row.name, says, "it is counted again")


def _keys(connection: Connection) -> Iterator[Finding]:
    """The key that keeps a name from being taken twice: live bundles have it, dead ones don't."""
    wrong = or_(B.state.in_(s.DEAD) & B.live_key.is_not(None), B.state.not_in(s.DEAD) & B.live_key.is_(None))
    for row in connection.execute(select(B.id, B.ideal, B.state).where(wrong).limit(EXAMPLES)):
        has = "still keeps" if row.state in s.DEAD else "does not keep"
        says = f"it is {row.state}, and {has} its name from another bundle"
        yield finding("name-kept", names.shown(row.ideal), says, next="put the tables back from a backup", item=row.id)


def _manifests(connection: Connection) -> Iterator[Finding]:
    """Bundles of which not all files are in the tables."""
    known = select(func.count()).where(F.bundle_id == B.id).scalar_subquery()
    query = select(B.id, B.ideal, B.files, B.state, known.label("known")).where(B.files.is_not(None), B.state != s.ABORT)
    for row in connection.execute(query.where(known != B.files).limit(EXAMPLES)):
        says = f"it holds {row.files} files, the tables know {row.known} of them"
        mend = "they are read from the manifest of its zip, where that is here" if row.state in WITH_ZIP else ""
        advice = "" if mend else f"lta-restore {names.shown(row.ideal)} --zip --to DIR brings the zip, which has its manifest"
        yield finding("files-unknown", names.shown(row.ideal), says, mend, advice, item=row.id)


def _directories(connection: Connection) -> Iterator[Finding]:
    """Directories that are bundled, and whose bundles don't hold all of their files."""
    held = select(func.coalesce(func.sum(B.files), 0)).where(B.directory_id == R.id, B.state != s.ABORT).scalar_subquery()
    query = select(R.id, R.ideal, R.state, R.files, held.label("held")).where(R.state.in_((s.LTA_REQUEST, s.FILES_DELETED)))
    for row in connection.execute(query.where(held != R.files).limit(EXAMPLES)):
        says = f"it is {row.state} with {row.files} files, its bundles hold {row.held}"
        step = f"dm-trace {names.shown(row.ideal)}; its files stay while this is so"
        yield finding("not-all-bundled", names.shown(row.ideal), says, next=step, item=row.id)


# ---- outbound, disks of this HOME


def _outbound(this: Pass) -> Iterator[Finding]:
    """Zips without a bundle, bundles without a zip, of this HOME; only while the directory answers."""
    if trouble := outbound.trouble(this.settings):
        yield note("outbound-away", "outbound", trouble, "mount it, then look again")
        return
    try:
        zips = dict(zips_of(this))
    except StorageError as problem:
        yield note("outbound-away", "outbound", problem.reason, "mount it, then look again")
        return
    with this.ledger.read() as connection:
        rows = list(connection.execute(select(B.id, B.ideal, B.state, B.size, B.home).where(B.live_key.is_not(None))))
    mine, home = {row.ideal: row for row in rows}, known_id(this.home)
    new = len(zips.keys() - mine.keys())
    if new:
        yield note("not-scanned-yet", "outbound", f"{new} zips have no bundle", "the next pass of lta-bundle-scanner adds them")
    for row in [row for row in rows if row.home == home]:
        yield from _zip(row, zips.get(row.ideal))


def _zip(row: AnyRow, size: int | None) -> Iterator[Finding]:
    name = names.shown(row.ideal)
    if size is None and row.state in WITH_ZIP:
        step = "put it back, or give it up: lta-bundle-scanner --abort"
        if row.state == s.NERSC_CLEAN:
            step = "it is proved on tape; if a person took it away: lta-manual-bundle --gone --yes"
        yield finding("zip-gone", name, f"the bundle is {row.state}, and its zip is not in outbound", next=step, item=row.id)
    elif size is not None and row.state in WITH_ZIP and size != row.size:
        says = f"the bundle is {row.state} with {row.size} bytes, the zip has {size}"
        yield finding("zip-differs", name, says, next="look at it: it is not what was added; it is not deleted", item=row.id)
    elif size is not None and row.state in (s.LOCAL_DELETED, s.LOCAL_FILES_DELETED):
        says = f"the bundle is {row.state}, and a zip of its name is in outbound"
        yield finding("zip-still-here", name, says, next="look at it: whoever laid it there must move it away", item=row.id)


def _disks(this: Pass) -> Iterator[Finding]:
    """Disks that were dumped by this HOME, and whose manifest is gone."""
    home, place = known_id(this.home), this.home / "lta/disks"
    with this.ledger.read() as connection:
        rows = connection.execute(select(D.uuid, D.state, D.files_done).where(D.home == home, D.files_done > 0)).all()
    for row in rows:
        if not _there(place / f"{row.uuid}.ndjson"):
            says = f"{row.files_done} files of it are proved, and its manifest lta/disks/{row.uuid}.ndjson is gone"
            step = "nothing: a dump of it would compare all of its files with the warehouse anew"
            yield note("no-disk-manifest", row.uuid, says, step)


def _there(path: Path) -> bool:
    return os.path.lexists(path)
