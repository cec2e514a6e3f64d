"""dm-check --repair for lta: what a rule mends. Books only: nothing in outbound, warehouse, buffer or on tape is touched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from dmtools import names
from dmtools.control import checking
from dmtools.control.checking import Finding, Inspection
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.lta import check, outbound
from dmtools.lta.api import Done, Problem, answer
from dmtools.lta.api.bundles import AddBundles, Added, NewBundle
from dmtools.lta.api.files import AddFiles, NewFile
from dmtools.lta.home import Home, id_of
from dmtools.lta.office import books_of
from dmtools.spool import folders as at
from dmtools.spool.folders import Folders
from dmtools.storage.answers import StorageError
from dmtools.transfers import check_lists
from dmtools.transfers.road import Road

B, SITE = tables.lta_bundle.c, tables.lta_site
PART = 500


def repair(inspection: Inspection, findings: Sequence[Finding]) -> None:
    """Mends what a rule names."""
    this = inspection.this
    by_rule: dict[str, list[Finding]] = defaultdict(list)
    for found in findings:
        by_rule[found.rule].append(found)
    folders = Folders(this.home, "lta")
    check_lists.put_right(this, folders, by_rule, lambda: _road(this))
    checking.sweep(this, [folders.root / folder for folder in at.ALL])
    if by_rule["tables-new"]:
        _add_anew(this)
    for found in by_rule["files-unknown"]:
        if found.mend:
            _add_files(this, found.item)
    this.ledger.transact(lambda c: checking.mend_counts(c, "lta", check.counted(c)))
    if by_rule["reserved"]:
        this.ledger.transact(_reserve)


def _reserve(connection: Connection) -> None:
    """Each site's room as its bundles have it, none of them changing meanwhile."""
    rows = connection.execute(select(SITE.c.name).with_for_update()).scalars().all()
    held = check.reserved(connection)
    for name in rows:
        connection.execute(SITE.update().where(SITE.c.name == name).values(reserved=held.get(name, 0)))


def _road(this: Pass) -> Road:
    from dmtools.lta.road import road

    return road(this, Home.of(this))


# ---- from manifests


def _add_anew(this: Pass) -> None:
    """The zips that are here, read whole, with what their manifests list. A zip that can't be read is told, and stays."""
    from dmtools.lta.restoring.bundlezip import BadBundle, records
    from dmtools.lta.sums import read

    for ideal, _size in check.zips_of(this):
        path = outbound.zip_of(this.settings, ideal)
        try:
            sums = read(path)
        except StorageError as problem:
            this.log(f"{names.shown(ideal)}: not added: {problem.reason}")
            continue
        try:
            listed: int | None = len(records(path))
        except (BadBundle, StorageError):
            listed = None  # a zip of others, without a manifest of ours
        new = NewBundle(
            destination=this.settings.lta.destination, ideal=ideal, home=id_of(this), size=sums.size, sha512=sums.sha512,
            adler32=sums.adler32, name=names.file_url(outbound.root(this.settings)) + ideal, files=listed,
        )  # fmt: skip
        try:
            (bundle,) = answer(books_of(this), AddBundles(bundles=(new,)), Added).bundles
        except Problem as problem:
            this.log(f"{names.shown(ideal)}: not added: {problem}")
            continue
        if listed:
            _add_files(this, bundle.id)


def _add_files(this: Pass, item: int) -> None:
    """What the manifest in the zip lists, when the zip is here and is the bundle's."""
    from dmtools.lta.restoring.bundlezip import BadBundle, records
    from dmtools.lta.sums import read

    with this.ledger.read() as connection:
        row = connection.execute(select(tables.lta_bundle).where(B.id == item)).first()
    if row is None:
        return
    path = outbound.zip_of(this.settings, row.ideal)
    try:
        if read(path).sha512 != row.sha512:
            this.log(f"{names.shown(row.ideal)}: its zip here is another one, so its manifest says nothing of the bundle")
            return
        found = records(path)
    except (BadBundle, StorageError) as problem:
        this.log(f"{names.shown(row.ideal)}: its manifest can't be read: {problem}")
        return
    try:
        for files in _parts(this, found):
            answer(books_of(this), AddFiles(id=item, files=files), Done)
    except Problem as problem:
        this.log(f"{names.shown(row.ideal)}: its files are left as they are: {problem}")


def _parts(this: Pass, found: Sequence[object]) -> Iterator[tuple[NewFile, ...]]:
    """As asks of a bearable size; `source` is where glue took it from. A file without adler32 can't be booked."""
    from dmtools.lta import warehouse
    from dmtools.lta.glue.manifest import Record

    root = names.encode(warehouse.root(this.settings))
    files = [
        NewFile(
            name=one.name, size=one.size, sha512=one.sha512, adler32=one.adler32, source=root + one.name, mtime_ns=one.mtime_ns
        )
        for one in found
        if isinstance(one, Record) and one.sha512 and one.adler32
    ]
    for start in range(0, len(files), PART):
        yield tuple(files[start : start + PART])
