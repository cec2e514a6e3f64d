"""dm-config init: a HOME that is whole, never overwritten, refused where it can't be."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from dmtools.control import home as homes
from tests.support import command, environment, run

WANTED = """\
secrets log run run/sim run/set-aside migrate/TODO/ListOfLFNs/Done migrate/TODO migrate/DOING migrate/DONE/Okay migrate/DONE/Bad
migrate/DONE/Dirty migrate/DONE/Missing demo/castor demo/echo demo/daq/data1 demo/daq/data2 demo/daq/data3 demo/daq/data4
demo/site demo/tape demo/lta/outbound demo/lta/remote demo/lta/warehouse demo/lta/slots/slot1 demo/lta/slots/slot2
demo/lta/slots/slot3 demo/lta/slots/slot4 demo/lta/dump dqm/raw dqm/public datalogger/draft datalogger/out datalogger/site
"""
WANTED_DIRECTORIES = WANTED.split()


@pytest.mark.parametrize("mask", [0o022, 0o000, 0o077])
def test_a_home_has_all_directories_and_modes(short_tmp: Path, mask: int) -> None:
    home = short_tmp / "new" / "home"
    subprocess.run(command("dm-config", "init", home), env=environment(), umask=mask, check=True, capture_output=True)
    assert [name for name in WANTED_DIRECTORIES if not (home / name).is_dir()] == []
    assert home.stat().st_mode & 0o777 == 0o750
    assert (home / "secrets").stat().st_mode & 0o777 == 0o700
    assert (home / "dmtools.toml").stat().st_mode & 0o777 == 0o640
    assert (home / "dmtools.db").stat().st_mode & 0o777 == 0o640
    with sqlite3.connect(home / "dmtools.db") as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    run("dm-config", "check", home=home).ok()
    assert run("dm-monitoring", "--json", home=home).ok().json["pipelines"]["migrate"]["counts"]["TODO"] == 0


def test_again_makes_what_is_missing_and_touches_nothing_else(home: Path) -> None:
    (home / "dmtools.toml").write_text("fts.retry = 2\n")
    (home / "migrate" / "DOING").rmdir()
    (home / "demo" / "castor" / "a").write_text("mine")
    inode = (home / "dmtools.db").stat().st_ino
    found = run("dm-config", "init", home, "--json").ok().json
    assert found["made"] == [str(home / "migrate" / "DOING")]
    assert (home / "dmtools.toml").read_text() == "fts.retry = 2\n"
    assert (home / "demo" / "castor" / "a").read_text() == "mine"
    assert (home / "dmtools.db").stat().st_ino == inode


def test_it_says_what_it_made_and_what_to_do_next(short_tmp: Path) -> None:
    found = run("dm-config", "init", short_tmp / "h").ok()
    assert "made " + str(short_tmp / "h" / "dmtools.toml") in found.out
    assert f"export DMTOOLS_HOME={short_tmp / 'h'}" in found.out
    assert found.err == ""


def test_a_dry_run_makes_nothing(short_tmp: Path) -> None:
    found = run("dm-config", "init", short_tmp / "h", "--dry-run").ok()
    assert "would make" in found.out
    assert list(short_tmp.iterdir()) == []


def test_the_port_base_is_written(short_tmp: Path) -> None:
    run("dm-config", "init", short_tmp / "h", "--port-base", 19000).ok()
    shown = run("dm-config", "show", "--json", home=short_tmp / "h").ok().json
    assert shown["settings"]["port_base"] == 19000
    assert shown["from"]["port_base"].startswith("line ")
    assert run("dm-config", "init", short_tmp / "i", "--port-base", 70000).gave(2)
    assert not (short_tmp / "i").exists()


@pytest.mark.parametrize("name", ["a home", "h\u00fcme", "100%", "quote'\"s", "line\nbreak", "caf\udce9"])
def test_any_name_can_be_a_home(short_tmp: Path, name: str) -> None:
    home = short_tmp / name
    run("dm-config", "init", home).ok()
    assert run("dm-config", "check", home=home).ok().err == ""
    run("dm-command", "halt", "--home", home).ok()
    run("dm-db", "backup", home / "copy.db", home=home).ok()


@pytest.mark.parametrize("name", [".", "migrate", "migrate/TODO", "dmtools.toml", "secrets", "up"])
def test_what_is_in_the_way_is_named(short_tmp: Path, name: str) -> None:
    home = short_tmp / "up" / "home"
    way = short_tmp / "up" if name == "up" else home / name
    if name == "dmtools.toml":
        way.mkdir(parents=True)
    else:
        way.parent.mkdir(parents=True, exist_ok=True)
        way.write_text("mine")
    found = run("dm-config", "init", home).gave(2)
    assert str(way) in found.err
    assert name == "dmtools.toml" or way.read_text() == "mine"


def test_no_home_named(short_tmp: Path) -> None:
    assert "dm-config init HOME" in run("dm-config", "init").gave(2).err
    found = run("dm-config", "init", short_tmp / "a", "--home", short_tmp / "b").gave(2)
    assert "two HOMEs" in found.err
    run("dm-config", "init", "--home", short_tmp / "b").ok()


def test_a_home_that_everybody_may_write_is_refused(short_tmp: Path) -> None:
    (short_tmp / "h").mkdir(mode=0o777)
    (short_tmp / "h").chmod(0o777)
    assert "chmod o-w" in run("dm-config", "init", short_tmp / "h").gave(2).err
    assert list((short_tmp / "h").iterdir()) == []


def test_ten_at_once_make_one_home(short_tmp: Path) -> None:
    argv = command("dm-config", "init", short_tmp / "h")
    running = [subprocess.Popen(argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(10)]
    said = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 10, said
    with sqlite3.connect(short_tmp / "h" / "dmtools.db") as raw:
        assert raw.execute("SELECT COUNT(*) FROM installation").fetchone() == (1,)
    assert [path.name for path in (short_tmp / "h").iterdir() if path.name.startswith(".")] == []


def test_a_network_file_system_is_refused_unless_the_tables_are_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dmtools.command import Refused
    from dmtools.ledger import engine

    monkeypatch.setattr(engine, "file_system", lambda _: "nfs4")
    with pytest.raises(Refused, match="network file system"):
        homes.make(tmp_path / "h", 18800)
    assert not (tmp_path / "h").exists()


# ---- a HOME that can't be written, a disk that is full -----------------------------------------------------------------

READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
SMALL = 'mount -t tmpfs -o size={size} none "$0" && exec "$@"'


def mounted(script: str, place: Path) -> tuple[object, ...]:
    return ("unshare", "--mount", "sh", "-c", script, place)


@pytest.mark.needs("root")
def test_an_unwritable_place(short_tmp: Path) -> None:
    found = run("dm-config", "init", short_tmp / "h", prefix=mounted(READ_ONLY, short_tmp)).gave(75)
    assert "Read-only file system" in found.err
    assert "choose a place you may write" in found.err


@pytest.mark.needs("root")
@pytest.mark.parametrize("words", [("dm-command", "halt"), ("migrate-monitor",), ("dm-db", "prune")])
def test_an_unwritable_home(home: Path, words: tuple[str, ...]) -> None:
    found = run(*words, "--json", home=home, prefix=mounted(READ_ONLY, home)).gave(75)
    assert found.json["state"] == "unavailable"
    assert found.err.count("\n") == 1


@pytest.mark.needs("root")
@pytest.mark.parametrize("size", ["4k", "16k", "64k", "160k"])
def test_a_full_disk(short_tmp: Path, size: str) -> None:
    script = SMALL.format(size=size)
    found = run("dm-config", "init", short_tmp / "h", "--json", prefix=mounted(script, short_tmp)).gave(75)
    assert "room" in found.err
    assert found.json["state"] == "unavailable"


def test_directories_are_those_of_the_code() -> None:
    assert set(WANTED_DIRECTORIES) <= set(homes.DIRECTORIES)
    assert sys.getfilesystemencoding() == "utf-8"
