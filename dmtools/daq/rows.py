"""Files of a disk -> rows of `daq_file`, a directory at a time: a million files pay for each detour."""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from dmtools import names
from dmtools.daq.lfn import Naming, half
from dmtools.daq.states import FOUND, SKIPPED, STATES
from dmtools.ledger import journal, tables
from dmtools.ledger.chunks import chunks
from dmtools.ledger.types import AnyRow
from dmtools.storage.walking import Files, kind

F = tables.daq_file.c
TOGETHER = 100  # rows a statement
OF_SKIPPED = "invalid"  # the error class of what can't be taken
_PLAIN = re.compile(rb"[A-Za-z0-9_.+=,@:~()-]*").fullmatch  # names that are spelt as they are


class Row(NamedTuple):
    """What a scan writes. `reason`: why it is Skipped; None: it is Found. `twin_id`: who has its LFN already."""

    path: str
    place_key: bytes
    lfn: str
    lfn_key: bytes | None
    size: int
    mtime_ns: int
    inode: int
    reason: str | None
    twin_id: int | None


class Maker:
    """Makes the rows of one disk's files."""

    def __init__(self, disk: int, naming: Naming) -> None:
        self._disk, self._naming = disk, naming

    def rows(self, files: Files) -> list[tuple[Any, ...]]:
        """The rows of some files of one directory, as plain tuples in the order of `Row`."""
        directory, entries = files
        before = directory + b"/" if directory else b""
        shown = names.encode(before)
        place = half(b"%d:%b" % (self._disk, names.encode(directory).encode("ascii")))
        lfns: dict[str, tuple[str, bytes]] = {}  # what the LFNs here begin with, and its half of their keys, by template
        look, is_file = self._naming.look, stat.S_ISREG
        made: list[tuple[Any, ...]] = []
        for name, size, mtime_ns, inode, mode in entries:
            plain = name.decode("ascii") if _PLAIN(name) else names.encode(name)
            path, tail = shown + plain, half(plain.encode("ascii"))
            template, why = look(before + name, name) if is_file(mode) else ("", kind(mode))
            if why is not None:
                made.append((path, place + tail, "/" + path, None, size, mtime_ns, inode, why, None))
                continue
            if template not in lfns:
                lfns[template] = _beginning(template, shown)
            begin, key = lfns[template]
            if key:
                made.append((path, place + tail, begin + plain, key + tail, size, mtime_ns, inode, None, None))
            else:
                over, _, last = (lfn := template.replace("{path}", path)).rpartition("/")
                keys = half(over.encode("ascii")) + half(last.encode("ascii"))
                made.append((path, place + tail, lfn, keys, size, mtime_ns, inode, None, None))
        return made


def _beginning(template: str, directory: str) -> tuple[str, bytes]:
    """What comes before a file's name, and its half of the key; no key for a template that goes on behind {path}."""
    if not template.endswith("{path}") or template.count("{path}") != 1:
        return "", b""
    begin = template.removesuffix("{path}") + directory
    if not begin.endswith("/"):
        return "", b""
    return begin, half(begin[:-1].encode("ascii"))


def add(connection: Connection, disk: int, scan: int, rows: Sequence[Row], at: datetime) -> None:
    """Inserts rows and counts them. Raises IntegrityError; then none of them is in."""
    for state, cls in ((FOUND, None), (SKIPPED, OF_SKIPPED)):
        these = [row for row in rows if (row[7] is None) == (state == FOUND)]
        if these:
            constants: dict[str, object] = {"disk_id": disk, "scan": scan, "failures": 0, "state": state, "error_class": cls}
            constants["since"] = at.strftime("%Y-%m-%d %H:%M:%S.%f")
            _insert(connection, constants, these)
            journal.count_new(connection, STATES.pipeline, state, len(these), sum(row[4] for row in these), at)


def _insert(connection: Connection, constants: dict[str, object], rows: Sequence[Row]) -> None:
    """By the driver's own words: a hundred rows a statement cost a fifth less than one by one."""
    columns = ", ".join([*constants, *Row._fields])
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    one = "(" + ", ".join([*map(_literal, constants.values()), *(mark for _ in Row._fields)]) + ")"
    for part in chunks(rows, TOGETHER):
        values = tuple(value for row in part for value in row)
        statement = f"INSERT INTO daq_file ({columns}) VALUES {', '.join([one] * len(part))}"  # noqa: S608 - our own words
        connection.exec_driver_sql(statement, values)


def _literal(value: object) -> str:
    return "NULL" if value is None else f"'{value}'" if isinstance(value, str) else str(value)


def firsts(connection: Connection, keys: Sequence[bytes | None]) -> dict[bytes, AnyRow]:
    """Who has these LFNs, by key: id, and which file of which disk it is or was."""
    query = select(F.id, F.lfn_key, F.disk_id, F.path, F.size, F.mtime_ns, F.inode, F.freed)
    found: dict[bytes, AnyRow] = {}
    for part in chunks([key for key in keys if key is not None]):
        found |= {row.lfn_key: row for row in connection.execute(query.where(F.lfn_key.in_(part)))}
    return found
