"""Column types that mean the same on sqlite and MariaDB. MariaDB's own types are imported only where it is used."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import quote

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, LargeBinary, String, Text, TypeDecorator

_MARIADB = ("mysql", "mariadb")
_ASCII: dict[str, Any] = {"charset": "ascii", "collation": "ascii_nopad_bin"}  # /A is not /a, and "a" is not "a "


@functools.lru_cache(maxsize=256)
def _naive(value: datetime) -> datetime:
    """Thousands of rows of one transaction carry the same instant."""
    return value.astimezone(UTC).replace(tzinfo=None)


class DamagedValue(ValueError):
    """What stands in the table is nothing of its column's kind: it was changed by hand, or the file is damaged."""


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant with microseconds, stored without its zone."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """MariaDB's DATETIME keeps microseconds only when told to."""
        if dialect.name not in _MARIADB:
            return dialect.type_descriptor(DateTime())
        from sqlalchemy.dialects import mysql

        return mysql.DATETIME(fsp=6)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware in; naive UTC is stored."""
        return None if value is None else _naive(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """What is no instant is told as such. sqlite keeps any text in any column."""
        read = super().result_processor(dialect, coltype)
        if dialect.name in _MARIADB or read is None:
            return read

        def told(value: Any) -> Any:
            try:
                return read(value)
            except (ValueError, TypeError) as problem:
                raise DamagedValue(f"it holds {value!r} where an instant must be") from problem

        return told

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Naive UTC out of the table; aware to the caller."""
        return None if value is None else value.replace(tzinfo=UTC)


class Word(TypeDecorator[str]):
    """A short word or id of our own in ASCII, compared byte by byte."""

    impl = String(190)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Binary collation, no padding."""
        if dialect.name not in _MARIADB:
            return dialect.type_descriptor(String(190))
        from sqlalchemy.dialects import mysql

        return mysql.VARCHAR(190, **_ASCII)


class Who(Word):
    """A person or a command; what is not ASCII (a user's name) is percent-encoded on its way in."""

    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """ASCII is stored as it is."""
        return value if value is None or value.isascii() else quote(value, safe=_PRINTABLE, errors="surrogateescape")


class Name(TypeDecorator[str]):
    """A percent-encoded name or URL of any length, compared byte by byte."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Binary collation, no padding."""
        if dialect.name not in _MARIADB:
            return dialect.type_descriptor(Text())
        from sqlalchemy.dialects import mysql

        return mysql.TEXT(**_ASCII)


class Key(TypeDecorator[bytes]):
    """The 32 bytes on which a name is unique."""

    impl = LargeBinary(32)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """A fixed length can be indexed whole."""
        if dialect.name not in _MARIADB:
            return dialect.type_descriptor(LargeBinary(32))
        from sqlalchemy.dialects import mysql

        return mysql.BINARY(32)


class Words(TypeDecorator[str]):
    """Free text. Bytes that are no UTF-8 (they come with file names in error texts) are spelt out."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Every character there is, up to 16 MB."""
        if dialect.name not in _MARIADB:
            return dialect.type_descriptor(Text())
        from sqlalchemy.dialects import mysql

        return mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin")

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Any text can be stored."""
        if value is None or value.isascii():
            return value
        return value.encode("utf-8", "backslashreplace").decode("utf-8")


_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F))
# sqlite counts by itself only in a column that is called INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")

# A row of a query; its columns are named where the query stands. (SQLAlchemy types it by position only.)
AnyRow: TypeAlias = Any
