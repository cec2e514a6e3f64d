"""The database of statistics: a row a device (or event) and window, and the view `stats` that has them one figure a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Double, Engine, Index, Integer, MetaData, Table, exc, insert, select
from sqlalchemy.schema import CreateIndex, CreateTable

from dmtools.datalogger.stats import connecting
from dmtools.ledger.types import Word, Words

SCHEMA = 1
NAMES = ("mean", "mode", "std", "min", "max", "median", "q01", "q05", "q25", "q75", "q95", "q99")


@dataclass(frozen=True)
class Spread:
    """How numbers are spread; None: there were none that are finite, or too few. Values in the device's units, intervals in s."""

    mean: float | None = None
    mode: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    median: float | None = None
    q01: float | None = None
    q05: float | None = None
    q25: float | None = None
    q75: float | None = None
    q95: float | None = None
    q99: float | None = None


@dataclass(frozen=True)
class Statistics:
    """One device (or event) and window [start, end), UTC epoch seconds; the meaning of each figure is in docs/datalogger.md."""

    kind: str
    name: str
    start: float
    end: float
    file: str
    series: int
    units: str
    state: str
    count: int
    value: Spread
    interval: Spread
    first: float | None
    last: float | None
    gaps: int | None
    gap_seconds: float | None
    doubles: int
    stars: int
    non_finite: int
    stuck: int
    cadence: float | None
    complete: float | None
    distilled: float
    version: str


metadata = MetaData()
_SPREADS = tuple(f"{what}_{name}" for what in ("value", "interval") for name in NAMES)
statistics = Table(
    "statistics",
    metadata,
    Column("kind", Word, primary_key=True),
    Column("name", Word, primary_key=True),
    Column("start", Double, primary_key=True),
    Column("end", Double, primary_key=True),
    Column("file", Word, nullable=False),
    Column("series", Integer, nullable=False),
    Column("units", Words, nullable=False),
    Column("state", Word, nullable=False),
    Column("count", BigInteger, nullable=False),
    *(Column(name, Double) for name in _SPREADS),
    Column("first", Double),
    Column("last", Double),
    Column("gaps", BigInteger),
    Column("gap_seconds", Double),
    Column("doubles", BigInteger, nullable=False),
    Column("stars", BigInteger, nullable=False),
    Column("non_finite", BigInteger, nullable=False),
    Column("stuck", BigInteger, nullable=False),
    Column("cadence", Double),
    Column("complete", Double),
    Column("distilled", Double, nullable=False),
    Column("version", Word, nullable=False),
)
_BY_START = Index("statistics_start", statistics.c.start)
_schema = Table("statistics_schema", metadata, Column("number", Integer, primary_key=True, autoincrement=False))
S = statistics.c


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """The database, to read or to write. Raises Unavailable when it can't be used now, Refused when it is a newer one."""
    engine = connecting.engine(url)
    try:
        with connecting.told(url):
            yield engine
    finally:
        engine.dispose()


def create(engine: Engine) -> None:
    """Makes what isn't there: tables, index, view; killed anywhere, the next one goes on. Raises Refused for a newer one."""
    with connecting.writing(engine) as connection:
        if number(connection) is not None:
            return
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
        if connection.dialect.name == "sqlite":
            connection.execute(CreateIndex(_BY_START, if_not_exists=True))
        elif not connection.exec_driver_sql("SHOW INDEX FROM statistics WHERE Key_name = 'statistics_start'").first():
            connection.execute(CreateIndex(_BY_START))
        how = "CREATE VIEW IF NOT EXISTS" if connection.dialect.name == "sqlite" else "CREATE OR REPLACE VIEW"
        connection.exec_driver_sql(f"{how} stats AS {_view(connection)}")
        ignore = "OR IGNORE" if connection.dialect.name == "sqlite" else "IGNORE"
        connection.execute(insert(_schema).values(number=SCHEMA).prefix_with(ignore))


def number(connection: Connection) -> int | None:
    """The schema that it has; None: it isn't made yet, or not to its end. Raises Refused for one that is newer than ours."""
    try:
        found = connection.execute(select(_schema.c.number)).scalar()
    except (exc.OperationalError, exc.ProgrammingError) as problem:
        if not connecting.lacks_table(problem):
            raise
        return None
    if found is not None and found > SCHEMA:
        raise connecting.newer(connection.engine.url, found, SCHEMA)
    return found


def _view(connection: Connection) -> str:
    """The rows as the original's: epoch, parameter, stat, value; and the window's length, for a second is no day."""
    quote = connection.dialect.identifier_preparer.quote
    head = f"{quote('start')} AS epoch, {quote('name')} AS parameter"
    tail = f"{quote('end')} - {quote('start')} AS seconds FROM statistics"
    stats = [(name, f"value_{name}") for name in NAMES] + [(f"interval {name}", f"interval_{name}") for name in NAMES]
    stats += [(name, name) for name in ("count", "gaps", "doubles", "stars", "non_finite", "stuck")]
    rows = (
        f"SELECT {head}, '{stat}' AS stat, {quote(column)} AS value, {tail} WHERE {quote(column)} IS NOT NULL"
        for stat, column in stats
    )
    return " UNION ALL ".join(rows)


def upsert(engine: Engine, found: Iterable[Statistics]) -> int:
    """Writes each row over the one of its device and window; gives how many.

    One that another file gave with more samples is left, so that a part of a window by hand never replaces the whole.
    """
    written = 0
    with connecting.writing(engine) as connection:
        for one in found:
            key = (S.kind == one.kind, S.name == one.name, S.start == one.start, S.end == one.end)
            there = connection.execute(select(S.file, S.count.label("samples")).where(*key).with_for_update()).first()
            if there is not None and there.file != one.file and there.samples > one.count:
                continue
            row = _row(one)
            connection.execute(insert(statistics).values(row) if there is None else statistics.update().where(*key).values(row))
            written += 1
    return written


def _row(one: Statistics) -> dict[str, Any]:
    """The columns; what is not finite is NULL."""
    row: dict[str, Any] = {}
    for field in fields(one):
        found = getattr(one, field.name)
        if isinstance(found, Spread):
            row |= {f"{field.name}_{name}": getattr(found, name) for name in NAMES}
        else:
            row[field.name] = found
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}


def read(url: str, names: Iterable[str] | None = None, since: float | None = None) -> Iterator[Statistics]:
    """The rows by name, start and end: of these devices, from this epoch on; none when there is no database yet.

    `url`: as `connecting.url_of(settings)` gives it. Raises Unavailable.
    """
    if not connecting.is_there(url):
        return
    query = select(statistics).order_by(S.name, S.start, S.end)
    if names is not None:
        query = query.where(S.name.in_(list(names)))
    if since is not None:
        query = query.where(S.start >= since)
    with opened(url) as engine, connecting.reading(engine) as connection:
        if number(connection) is not None:
            for row in connection.execution_options(yield_per=1000).execute(query):
                yield _of(row._mapping)


def _of(row: Any) -> Statistics:
    plain = {field.name: row[field.name] for field in fields(Statistics) if field.name not in ("value", "interval")}
    value, interval = (Spread(**{name: row[f"{what}_{name}"] for name in NAMES}) for what in ("value", "interval"))
    return Statistics(value=value, interval=interval, **plain)
