"""The shared fixtures do what they say: servers are real, private and gone afterwards."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import create_engine, text

from tests.real_components import MariaDb, XRootD


def test_mariadb_gives_an_empty_database(mariadb: str) -> None:
    with create_engine(mariadb).begin() as connection:
        assert connection.execute(text("SHOW TABLES")).all() == []
        connection.execute(text("CREATE TABLE a (b INT)"))


def test_mariadb_server_keeps_what_was_written_over_a_crash(mariadb_server: MariaDb) -> None:
    mariadb_server.say("CREATE TABLE test.a (b INT) ENGINE=InnoDB")
    mariadb_server.say("INSERT INTO test.a VALUES (7)")
    mariadb_server.stop(signal.SIGKILL)
    mariadb_server.start()
    with create_engine(mariadb_server.url).begin() as connection:
        assert connection.execute(text("SELECT b FROM a")).scalar() == 7


def test_xrootd_copies_from_server_to_server(xrootd_server: Callable[..., XRootD], tmp_path: Path) -> None:
    first, second = xrootd_server(), xrootd_server()
    (tmp_path / "f").write_bytes(b"muon" * 1000)
    subprocess.run(["xrdcp", "-s", tmp_path / "f", f"{first.url}a/f"], check=True)
    subprocess.run(
        ["xrdcp", "-s", "--tpc", "only", "--cksum", "adler32:source", f"{first.url}a/f", f"{second.url}b/f"], check=True
    )
    assert (second.data / "b/f").read_bytes() == b"muon" * 1000
