"""The scanner on MariaDB: three at once share the work, from outbound to the buffer and out of outbound again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from tests.lta.scanner_steps import Outbound
from tests.support import Server, run


@dataclass
class Shared(Outbound):
    """Its tables are in MariaDB."""

    url: str = ""

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(query))]
        finally:
            engine.dispose()


def test_three_scanners_at_once_on_mariadb_ship_and_free_each_bundle_once(
    mariadb: str, home: Path, serve: Callable[..., Server]
) -> None:
    file = home / "dmtools.toml"
    file.write_text(f'database.url = "{mariadb}"\n' + file.read_text())
    run("dm-db", "upgrade", home=home).ok()
    source = Shared(home, serve, url=mariadb)
    source.start()
    source.set(max_pushes=20, free_local="verified")
    for number in range(9):
        source.zip(f"{number % 2}/{number}.zip")

    def three() -> None:
        with ThreadPoolExecutor(3) as pool:
            done = [pool.submit(source.scan) for _ in range(3)]
        assert not [one for d in done for one in d.result().json["errors"]]

    three()
    source.over()
    three()
    assert list(source.states().values()) == ["PushDone"] * 9
    assert len(source.copies()) == len(set(source.copies())) == 9
    source.to_tape()
    three()
    assert list(source.states().values()) == ["LocalDeleted"] * 9
    assert [path for path in source.outbound.rglob("*") if path.is_file()] == []
    entries = source.sql("SELECT item, to_state, COUNT(*) FROM journal WHERE kind = 'lta-bundle' GROUP BY item, to_state")
    assert {n for _, _, n in entries} == {1}
    assert source.sql("SELECT resource FROM lease") == []
    assert source.sql("SELECT id FROM lta_bundle WHERE holder IS NOT NULL") == []
