"""Writes that go with the commit on MariaDB: as if they had been made at once, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, delete, exc, insert, select, text

from dmtools import clock
from dmtools.ledger import Ledger, late, tables
from dmtools.ledger.engine import LedgerUnavailable, _mariadb

TABLE = tables.sighting
NEW = insert(TABLE)
VALUES = ("it's", 'say "a"', "100% %s %(a)s", "a;b; DROP TABLE sighting;--", "back\\slash\\", "é\n\t\0", "")


@pytest.fixture
def ledger(mariadb: str) -> Ledger:
    made = Ledger(_mariadb(mariadb), mariadb)
    TABLE.create(made.engine)
    return made


def row(name: str, value: str = "x") -> dict[str, Any]:
    return {"pipeline": "p", "name": name, "at": clock.now(), "value": value}


def there(connection: Connection) -> dict[str, str]:
    return {row.name: row.value for row in connection.execute(select(TABLE))}


def test_what_is_late_comes_before_all_that_is_asked_after_it_and_its_values_are_kept_byte_for_byte(ledger: Ledger) -> None:
    def work(connection: Connection) -> None:
        late.execute(connection, NEW, [row("a"), row("b")])
        assert there(connection) == {"a": "x", "b": "x"}
        late.execute(connection, NEW, [row("c")])
        connection.execute(delete(TABLE))
        for number, value in enumerate(VALUES):
            late.execute(connection, NEW, [row(str(number), value)])

    ledger.transact(work)
    with ledger.read() as connection:
        assert there(connection) == {str(number): value for number, value in enumerate(VALUES)}
    ledger.close()


def test_an_error_of_one_takes_all_of_the_transaction_back_and_nothing_is_left_for_the_next_one(ledger: Ledger) -> None:
    def doubled(connection: Connection) -> None:
        connection.execute(NEW, row("a"))
        late.execute(connection, NEW, [row("b"), row("b"), row("c")])

    def stopped(connection: Connection) -> None:
        late.execute(connection, NEW, [row("d")])
        raise KeyboardInterrupt

    with pytest.raises(exc.IntegrityError):
        ledger.transact(doubled)
    with pytest.raises(KeyboardInterrupt):
        ledger.transact(stopped)
    ledger.transact(lambda c: late.execute(c, NEW, [row("e")]))
    with ledger.read() as connection:
        assert there(connection) == {"e": "x"}
    ledger.close()


PLACE = select(TABLE.c.name, TABLE.c.value).where(TABLE.c.name.in_(bindparam("names", expanding=True))).order_by(TABLE.c.name)


def test_what_is_asked_of_the_driver_itself_sees_what_is_late_and_its_errors_are_told_as_all_others(ledger: Ledger) -> None:
    def asked(connection: Connection) -> list[Any]:
        late.execute(connection, NEW, [row("1"), row("2", VALUES[2]), row("3")])
        return late.rows(connection, PLACE, {"names": [1, 2]})

    assert ledger.transact(asked) == [("1", "x"), ("2", VALUES[2])]
    tries = []

    def locked(connection: Connection) -> list[Any]:
        tries.append(connection)
        if len(tries) == 1:  # MariaDB's own words for a deadlock: the whole transaction comes again
            return late.rows(connection, text("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213"), {})  # type: ignore[arg-type]
        return late.rows(connection, PLACE, {"names": [3]})

    assert ledger.transact(locked) == [("3", "x")]
    assert len(tries) == 2
    ledger.close()


def test_a_connection_that_is_lost_while_the_driver_is_asked_is_told_and_not_used_again(ledger: Ledger) -> None:
    def killed(connection: Connection) -> list[Any]:
        number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar_one()
        with ledger.read() as other:
            other.exec_driver_sql(f"KILL {number}")
        return late.rows(connection, PLACE, {"names": [1]})

    with pytest.raises(LedgerUnavailable):
        ledger.transact(killed)
    assert ledger.transact(lambda c: late.rows(c, PLACE, {"names": [1]})) == []
    ledger.close()
