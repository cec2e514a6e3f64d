"""Column types that mean the same on sqlite and MariaDB."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, LargeBinary, String, Text, TypeDecorator
from sqlalchemy.dialects import mysql


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant with microseconds, stored without its zone."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """MariaDB's DATETIME keeps microseconds only when told to."""
        return mysql.DATETIME(fsp=6) if dialect.name in ("mysql", "mariadb") else DateTime()

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware in; naive UTC is stored."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Naive UTC out of the table; aware to the caller."""
        return None if value is None else value.replace(tzinfo=UTC)


def _ascii(length: int | None) -> Any:
    kind = mysql.VARCHAR(length, charset="ascii", collation="ascii_nopad_bin") if length else None
    return kind or mysql.TEXT(charset="ascii", collation="ascii_nopad_bin")


# Short words and ids, binary-collated; percent-encoded names of any length; keys on which names are unique.
Word = String(190).with_variant(_ascii(190), "mysql", "mariadb")
Name = Text().with_variant(_ascii(None), "mysql", "mariadb")
Key = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
# sqlite counts by itself only in a column that is called INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")
Words = Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
