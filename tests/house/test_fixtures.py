"""The shared fixtures do what they say: servers are real, private and gone afterwards."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import tomllib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine, text

from tests.real_components import MariaDb, XRootD
from tests.support import run


def looks(home: Path) -> dict[str, object]:
    """Each file's and directory's mode and text, without the name of HOME; of the database the tables but its id and tokens."""
    found: dict[str, object] = {}
    for path in (home, *home.rglob("*")):
        told = path.is_file() and path.suffix not in (".db", ".token")  # each HOME has tokens of its own
        content = path.read_bytes().replace(bytes(home), b"HOME") if told else b""
        found[str(path.relative_to(home))] = (oct(path.stat().st_mode), content)
    with closing(sqlite3.connect(home / "dmtools.db")) as raw:
        own = ('INSERT INTO "installation"', 'INSERT INTO "lta_token"')
        found["tables"] = sorted(line for line in raw.iterdump() if not line.startswith(own))
    return found


def test_home_is_as_dm_config_makes_it(home: Path, home_template: Path, short_tmp: Path) -> None:
    ports = tomllib.loads((home / "dmtools.toml").read_text())["port_base"]
    run("dm-config", "init", short_tmp / "made", "--port-base", ports).ok()
    assert looks(home) == looks(short_tmp / "made")
    assert str(home_template) not in (home / "dmtools.toml").read_text()
    ids = {run("dm-db", "status", "--json", home=one).ok().json["installation"] for one in (home, home_template)}
    assert len(ids) == 2


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
