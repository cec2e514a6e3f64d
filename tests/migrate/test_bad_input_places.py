"""Settings, HOME, disk or database that can't be used: one message and the right exit code; mended, all goes on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.migrate.steps import Site
from tests.migrate.told import one_problem
from tests.support import Result, Server, run

COMMANDS = ("migrate-producer", "migrate-consumer", "migrate-monitor")
LFNS = [f"/a/{n}" for n in range(6)]
# Root without its power over modes: what any other user is.
PLAIN = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
READ_ONLY = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"')


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Site:
    """Something to do for each command: two files under way, two in TODO, two that are listed."""
    made = Site(home, serve)
    made.only()
    made.start()
    made.master(made.files(*LFNS))
    for name in ("migrate-producer", "migrate-consumer", "migrate-producer"):
        made.run(name, "--lists", 1, *(("--lfns", 2) if name == "migrate-producer" else ())).ok()
    made.over()
    return made


def everywhere(site: Site) -> dict[str, bytes]:
    """All that is in the directories of migrate."""
    root = site.home / "migrate"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def all_arrive(site: Site) -> None:
    """Plain passes bring all to the end: nothing lost, nothing copied twice."""
    site.produce()
    site.settle()
    assert site.lines("DONE/Okay") == LFNS
    assert sorted(map(site.lfn, site.copies())) == LFNS
    assert site.tally() == {"Okay": len(LFNS)}
    assert (site.names("TODO"), site.names("DOING")) == ([], [])


def refused(site: Site, how: Callable[[str], Result], code: int, state: str, **parts: str | tuple[str, ...]) -> None:
    """Each command says the same, once, and leaves all as it was."""
    before = everywhere(site)
    for name in COMMANDS:
        one_problem(how(name), code, state, **parts)
    assert everywhere(site) == before


def plainly(site: Site) -> Callable[[str], Result]:
    return lambda name: site.run(name, "--json", prefix=PLAIN)


# ---- settings

TYPOS = {
    "an unknown key": ("[migrate]\ncheck_sorce = true\n", ("check_sorce", "did you mean 'check_source'?")),
    "an unknown section": ("[migrat]\ncheck_source = true\n", ("migrat", "did you mean 'migrate'?")),
    "no TOML": ("[migrate\n", ("line {line}",)),
    "a wrong type": ("[migrate]\ncheck_source = 'yes'\n", ("migrate.check_source",)),
    "a number out of range": ("[migrate]\nmax_open_jobs = 0\n", ("migrate.max_open_jobs",)),
    "a scheme that nobody knows": (
        "[[migrate.rules]]\nmatch = '/'\nsource = 'gophr://h/a'\ndestination = 'file:///b'\n",
        ("unknown scheme 'gophr'",),
    ),
    "a kind of database that nobody has": ("[database]\nurl = 'oracle://x'\n", ("database.url",)),
}


def test_a_typo_in_the_settings(site: Site) -> None:
    path = site.home / "dmtools.toml"
    good = path.read_text()
    base = good.replace("\n[migrate]\n", "\n")
    line = str(len(base.splitlines()) + 1)
    for typo, (text, parts) in TYPOS.items():
        path.write_text(base + text)
        wanted = tuple(part.format(line=line) for part in parts)
        refused(site, plainly(site), 2, "failed", what="wrong settings", subject=str(path), why=wanted, next="dm-config check")
        checked = site.run("dm-config", "check").gave(2)
        assert all(part in checked.out + checked.err for part in wanted), typo
    path.write_text(good)
    all_arrive(site)


# ---- HOME


def test_a_home_that_is_not_there(tmp_path: Path) -> None:
    nowhere, file = tmp_path / "nowhere", tmp_path / "file"
    file.write_text("")
    for name in COMMANDS:
        for place in (nowhere, file):
            found = run(name, "--home", place, "--json")
            one_problem(found, 75, "unavailable", what="no HOME", subject=str(place), next="dm-config init")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("migrate/TODO", "migrate-producer"),
        ("migrate/TODO/ListOfLFNs", "migrate-producer"),
        ("migrate/DOING", "migrate-consumer"),
        ("migrate/DONE/Okay", "migrate-monitor"),
    ],
)
def test_a_directory_that_may_not_be_written(site: Site, folder: str, name: str) -> None:
    """The pass that needs it says which one and comes back later; when it may be written, all goes on."""
    place = site.home / folder
    place.chmod(0o550)
    found = site.run(name, *(() if name.endswith("monitor") else ("--lists", 0)), "--json", prefix=PLAIN)
    one_problem(
        found,
        *(75, "unavailable"),
        what="can't use",
        subject=str(place),
        why="Permission denied",
        left="stays booked",
        next="check owner, mode and mount of that path",
    )
    place.chmod(0o750)
    all_arrive(site)


@pytest.mark.needs("root")
def test_a_home_that_may_not_be_written_at_all(site: Site) -> None:
    before = everywhere(site)
    for path in (site.home, *site.home.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    parts = {"what": "no database", "why": "may not be written", "next": "check its owner and mode"}
    refused(site, plainly(site), 75, "unavailable", **parts)
    for path in (site.home, *site.home.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    refused(site, lambda name: site.run(name, "--json", prefix=(*READ_ONLY, site.home)), 75, "unavailable", what="no database")
    assert everywhere(site) == before
    all_arrive(site)


@pytest.mark.needs("root")
def test_a_log_that_may_not_be_written_stops_nothing(site: Site) -> None:
    shutil.rmtree(site.home / "log")
    (site.home / "log").mkdir(0o550)
    for name in COMMANDS:
        site.run(name, prefix=PLAIN).ok()
    all_arrive(site)


def test_a_home_that_others_may_write(site: Site) -> None:
    site.home.chmod(0o777)
    refused(site, plainly(site), 2, "failed", what="wrong settings", why=str(site.home), next="dm-config check")
    site.home.chmod(0o750)
    all_arrive(site)


# ---- disks (a full HOME: tests/faults/test_full_disk.py)


@pytest.mark.needs("root")
def test_a_full_destination_makes_lists_wait(home: Path, serve: Callable[..., Server], small_disk: Path) -> None:
    """No file is called failed for it, however often it is tried; what has room arrives, and the rest when there is more."""
    site = Site(home, serve)
    site.only()
    site.start("--root", home.parent)
    rule = f'{{ match = "/", source = "file://{home}/demo/castor", destination = "file://{small_disk}/echo" }}'
    site.settings(f"[migrate]\nrules = [{rule}]\n")
    site.files("/big", data=bytes(5 << 20))
    site.master([*site.files("/small"), "/big"])
    site.produce()
    for _ in range(5):
        site.consume()
        site.over()
        one_problem(
            site.run("migrate-monitor", "--json"),
            *(0, "done"),
            what="the destination has no room",
            subject="/big",
            why="No space left on device",
            left="no attempt is counted",
            next="make room at the destination",
        )
        site.due()
    assert site.state("/small")[0] == "Okay"
    assert site.state("/big")[:3] == ("TODO", "full", 0)
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    site.settle()
    assert site.tally() == {"Okay": 2}
    assert (small_disk / "echo/big").read_bytes() == site.source("/big").read_bytes()


# ---- database


def unwritten(path: Path) -> None:
    """Empties the write-ahead log into the file: nothing of it is elsewhere."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def test_a_locked_database(site: Site) -> None:
    site.settings("[database]\nbusy_seconds = 1\n")
    with site.database() as db:
        db.execute("BEGIN EXCLUSIVE")
        parts = {"what": "no database", "why": "is locked by another command", "next": "dm-leases shows who works"}
        refused(site, plainly(site), 75, "unavailable", **parts)
        db.execute("ROLLBACK")
    all_arrive(site)


def test_a_database_that_is_gone(site: Site) -> None:
    path, kept = site.home / "dmtools.db", site.home / "kept.db"
    unwritten(path)
    path.rename(kept)
    parts = {"what": "no database", "why": f"{path} is not there", "next": ("dm-db upgrade", "dm-check --repair")}
    refused(site, plainly(site), 75, "unavailable", **parts)
    assert not path.exists(), "no empty one may take its place"
    path.mkdir()
    refused(site, plainly(site), 75, "unavailable", what="no database", why=f"{path} is no file")
    path.rmdir()
    kept.rename(path)
    all_arrive(site)


def test_a_database_of_another_schema(site: Site) -> None:
    ((ours,),) = site.sql("SELECT version_num FROM alembic_version")
    for version, why, step in (
        ("9999", "newer than this program knows", "install the newer"),
        ("0000", "older schema", "dm-db upgrade"),
    ):
        with site.database() as db:
            db.execute("UPDATE alembic_version SET version_num = ?", (version,))
        refused(site, plainly(site), 75, "unavailable", what="no database", why=(version, why), next=step)
    with site.database() as db:
        db.execute("UPDATE alembic_version SET version_num = ?", (ours,))
    all_arrive(site)


def test_a_damaged_database(site: Site) -> None:
    path = site.home / "dmtools.db"
    unwritten(path)
    good = path.read_bytes()
    damages = {
        "no database": b"this was a database once\n" * 2000,
        "empty": b"",
        "a broken page": good[:4096] + b"\xa5" * (len(good) - 4096),
        "cut off": good[: len(good) // 8192 * 4096],
    }
    for damage, bad in [*damages.items(), ("", good)]:
        for name in ("dmtools.db-wal", "dmtools.db-shm"):
            (site.home / name).unlink(missing_ok=True)
        path.write_bytes(bad)
        if damage:
            why = (str(path), "lacks a table" if damage == "empty" else "is damaged")
            refused(site, plainly(site), 75, "unavailable", what="no database", why=why, next="dm-check --repair")
    all_arrive(site)


def test_a_database_server_that_is_away(site: Site, short_tmp: Path) -> None:
    path = site.home / "dmtools.toml"
    good = path.read_text()
    site.settings(f"[database]\nurl = 'mysql+pymysql://dm@localhost/dm?unix_socket={short_tmp}/none'\n")
    refused(site, plainly(site), 75, "unavailable", what="no database", why="doesn't answer", next="check that it runs")
    path.write_text(good)
    all_arrive(site)
