"""What a person wants back from tape -> which files of which zips: by the books, or without them by the names alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from dmtools import names
from dmtools.command import Context, Refused
from dmtools.daq.fromtape import Member, TapeZip
from dmtools.daq.lfn import lfn_key
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.types import AnyRow

F, Z = tables.daq_file.c, tables.daq_zip.c


@dataclass
class Wanted:
    """One zip, and which of its files are wanted: `members` by LFN, None when only the zip itself can say them."""

    zip: TapeZip
    lfns: list[str] = field(default_factory=list)
    members: dict[str, Member] | None = None


def spellings(name: str) -> tuple[str, ...]:
    """names.spellings of an LFN. Raises Refused for what is none."""
    raw = os.fsencode(name)
    if not raw.startswith(b"/") or b".." in raw.split(b"/"):
        raise Refused(f"{name!r} is no LFN; an LFN begins with / and has no '..' in it")
    return names.spellings(name)


def by_books(context: Context, wanted: Sequence[str]) -> list[Wanted]:
    """The zips that hold these files; a file that is unknown or not on tape is told."""
    found: dict[int, Wanted] = {}
    for part in chunks(wanted, 200):
        candidates = {name: spellings(name) for name in part}
        with context.ledger.read() as connection:
            rows = _rows(connection, {one for spelt in candidates.values() for one in spelt})
        for name, spelt in candidates.items():
            row = next((rows[one] for one in spelt if one in rows), None)
            if row is None or row.proved is None or row.zip_checksum is None:
                _tell(context, name, row)
                continue
            url = context.settings.daq.tape + row.zip_name
            one = found.setdefault(row.zip_id, Wanted(TapeZip(url, row.zip_size, row.zip_checksum), [], {}))
            if row.lfn not in one.lfns and one.members is not None:
                one.lfns.append(row.lfn)
                one.members[row.lfn] = Member(row.lfn, row.size, row.checksum, row.mtime_ns)
    return list(found.values())


def _rows(connection: Connection, lfns: set[str]) -> dict[str, AnyRow]:
    columns = (F.lfn, F.state, F.size, F.checksum, F.mtime_ns, F.zip_id, Z.name.label("zip_name"))
    query = (
        select(*columns, Z.state.label("zip_state"), Z.proved, Z.zip_size, Z.zip_checksum)
        .select_from(tables.daq_file.outerjoin(tables.daq_zip, Z.id == F.zip_id))
        .where(F.lfn_key.in_([lfn_key(lfn) for lfn in lfns]))
    )
    return {row.lfn: row for row in connection.execute(query)}


def _tell(context: Context, name: str, row: AnyRow | None) -> None:
    left = "nothing of it was written"
    if row is None:
        step = "look for the right name with: dm-trace PART; if its row was lost: the same with --without-tables"
        context.problem("unknown file", name, why="no file has this LFN", left=left, next=step)
        return
    site = names.shown(context.settings.daq.site + row.lfn)
    step = f"wait for daq-archive; its copy at the site is {site}"
    context.problem("not on tape", name, why=f"it is {row.state}, and its zip is not proved on tape", left=left, next=step)


def by_names(context: Context, wanted: Sequence[str]) -> Iterator[Wanted]:
    """Without any table: a file's own zip has its name and .zip; what is in it, its manifest says."""
    for name in wanted:
        (lfn, *_) = spellings(name)
        yield Wanted(TapeZip(f"{context.settings.daq.tape}{lfn}.zip"), [lfn])
