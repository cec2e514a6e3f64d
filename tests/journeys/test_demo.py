"""dm-demo, small: it proves what was done, sees what is wrong, leaves nothing behind, and stops when it is told to."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import zipfile
import zlib
from datetime import date, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest

from dmtools.demo import accelerator_proof, archive, books, detector, mirror, proof, staged
from dmtools.demo.display import Display
from dmtools.demo.mirror_source import SECRETS
from dmtools.demo.tree import Fact, Tree
from dmtools.house.leftovers import end_all, marked
from tests.support import ROOT, command, environment, wait_until

SMALL = ("--files", "0", "--big", "1")


def argv(*options: object) -> list[str]:
    """The demo in this Python; what bin/dm-demo does before is the set-up's."""
    return [sys.executable, "-m", "dmtools.demo", *map(str, options)]


@pytest.fixture
def env(short_tmp: Path) -> dict[str, str]:
    """Its temporary files go here."""
    place = short_tmp / "tmp"
    place.mkdir()
    return {**environment(), "TMPDIR": str(place), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def commands() -> None:
    """The demo runs what stands in .venv/bin; here that must be this checkout's."""
    if not (ROOT / ".venv/bin/migrate-producer").exists():
        pytest.fail("bin/dm-setup makes the commands in .venv/bin")


@pytest.mark.needs("browser")
@pytest.mark.usefixtures("commands")
def test_all_is_accounted_for_and_nothing_is_left(env: dict[str, str], short_tmp: Path) -> None:
    done = subprocess.run(argv(*SMALL, "--json"), env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["good"] is True
    assert len(told["checks"]) >= 20
    assert [one for one in told["checks"] if "in a zip on tape, unzipped byte for byte the same" in one["what"]]
    assert [one for one in told["checks"] if "in one zip on the remote tape, byte for byte" in one["what"]]
    assert [one for one in told["checks"] if "secrets of the source" in one["what"]]
    assert [one for one in told["checks"] if "with the source dead, page and nagios say how old it is" in one["what"]]
    assert [one for one in told["checks"] if "each as the formula gives it, bit for bit" in one["what"]]
    assert "killed with -9" in done.stderr
    assert list((short_tmp / "tmp").iterdir()) == []


@pytest.mark.usefixtures("commands")
def test_keep_leaves_servers_that_answer_and_says_how_to_end_them(env: dict[str, str], short_tmp: Path) -> None:
    home = short_tmp / "kept"
    try:
        words = argv(*SMALL, "--acts", "migrate", "--keep", "--home", home)
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        pids = marked("DMTOOLS_HOME", str(home))
        assert len(pids) == 2
        (line,) = [text for text in done.stdout.splitlines() if text.startswith("To end it: ")]
        subprocess.run(["/bin/sh", "-c", line.removeprefix("To end it: ")], check=True)
        wait_until(lambda: not marked("DMTOOLS_HOME", str(home)), 60, "the servers are gone")
        wait_until(lambda: not home.exists(), 60, "its files are gone")
    finally:
        end_all("DMTOOLS_HOME", str(home), grace=0)
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_that_it_started(env: dict[str, str], short_tmp: Path, number: signal.Signals) -> None:
    home = short_tmp / "stopped"
    with subprocess.Popen(argv(*SMALL, "--home", home), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as demo:
        wait_until(lambda: len(list(home.glob("run/sim/*.json"))) == 2, 60, "its servers run")
        demo.send_signal(number)
        out, err = demo.communicate(timeout=60)
    assert demo.returncode == 128 + number, (out, err)
    assert b"nothing is left" in err
    assert not home.exists()
    assert not marked("DMTOOLS_HOME", str(home))


def test_a_home_that_is_there_is_left_alone(env: dict[str, str], short_tmp: Path) -> None:
    done = subprocess.run(argv("--home", short_tmp), env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert short_tmp.exists()


def test_a_dry_run_makes_nothing_not_even_the_venv() -> None:
    before = sorted(os.listdir(ROOT))
    done = subprocess.run([*command("dm-demo"), "--dry-run"], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "would set up .venv" in done.stdout
    assert sorted(os.listdir(ROOT)) == before


# ---- does its proof see what is wrong? ---------------------------------------------------------------------------------


@pytest.fixture
def both(tmp_path: Path) -> tuple[Tree, Path]:
    """A source and a destination that agree, but for what can't arrive."""
    source, destination = Tree(tmp_path / "from"), tmp_path / "to"
    for lfn in (b"/a/plain", b"/a/latin \xe9", *staged.DOOMED):
        source.put(lfn, [lfn * 10])
    for lfn in (b"/a/plain", b"/a/latin \xe9"):
        Tree(destination).put(lfn, [lfn * 10])
    Tree(destination).put(staged.OCCUPIED, [staged.FOREIGN])
    return source, destination


def bad(source: Tree, destination: Path) -> list[str]:
    return [text for check in proof.trees(source, destination, lambda: None) for text in check.against]


def test_equal_trees_are_equal(both: tuple[Tree, Path]) -> None:
    assert bad(*both) == []


@pytest.mark.parametrize(
    "what", ["missing", "changed", "hidden", "source changed", "foreign overwritten", "arrived all the same"]
)
def test_the_proof_sees(both: tuple[Tree, Path], what: str) -> None:
    source, destination = both
    there = Tree(destination)
    if what == "missing":
        (destination / "a/plain").unlink()
    elif what == "changed":
        there.put(b"/a/plain", [b"/a/plaim" * 10])
    elif what == "hidden":
        there.put(b"/a/.plain.tmp", [b"half"])
    elif what == "source changed":
        Tree(source.root).put(b"/a/plain", [b"x"])
    elif what == "foreign overwritten":
        there.put(staged.OCCUPIED, [b"ours"])
    else:
        there.put(staged.HOPELESS, [b"x"])
    assert len(bad(source, destination)) == 1


def test_the_records_tell_of_a_second_copy(both: tuple[Tree, Path]) -> None:
    source, destination = both
    url = f"file://{destination}/a/"
    copies = [{"destination": f"{url}plain", "outcome": "FINISHED"}, {"destination": f"{url}latin%20%E9", "outcome": "FINISHED"}]
    assert proof.records(source, destination, copies)[0].good
    assert proof.records(source, destination, [*copies, copies[0]])[0].against == ["'/a/plain' was copied 2 times"]
    assert proof.records(source, destination, copies[:1])[0].against == ["'/a/latin \\\\xe9' was copied 0 times"]
    assert source.files[b"/a/plain"] == Fact(80, source.files[b"/a/plain"].sha256)


def test_what_a_killed_command_was_writing_is_listed_nowhere(tmp_path: Path) -> None:
    place = tmp_path / "migrate/DONE/Bad"
    place.mkdir(parents=True)
    text = "#dm list=l.txt\n# missing: gone\nfile:///from/a%20b  file:///to/a%20b\n# invalid: no name\n# ! x%20y\n"
    (place / "l.txt").write_text(text)
    (place / ".l.txt.123.tmp").write_text(text)
    found = [(b"/a b", "missing: gone"), (b"x y", "invalid: no name")]
    assert books.listed(tmp_path, "Bad", Path("/from")) == found


def test_the_proof_of_the_second_act_sees_what_is_wrong(home: Path) -> None:
    wrote = []
    for number in range(3):
        path = home / f"demo/daq/data1/MIG_a/f{number}_261126T101010.dat"
        data = b"x" * (number + 1)
        lfn = detector.lfn_of(str(path), home / "demo/daq")
        assert lfn == f"/2611/261126/MIG_a/f{number}_261126T101010.dat"
        wrote.append({"path": str(path), "size": len(data), "checksum": f"adler32:{zlib.adler32(data):08x}"})
        for place in (home / "demo/site" / lfn[1:], home / "demo/tape" / f"{lfn[1:]}.zip"):
            place.parent.mkdir(parents=True, exist_ok=True)
        (home / "demo/site" / lfn[1:]).write_bytes(data)
        with zipfile.ZipFile(home / "demo/tape" / f"{lfn[1:]}.zip", "w") as made:
            made.writestr(lfn[1:], data)
    copies = [{"destination": f"file://{home}/demo/tape/x.zip", "outcome": "FINISHED"}]

    def bad(number: int = 1) -> list[str]:
        return [check.what for check in detector._proof(home, wrote, copies * number) if not check.good]

    for disk in (home / "demo/daq").iterdir():
        (disk / "ReadyForData").touch()
    assert [what.split()[:2] for what in bad()] == [["the", "tables"]], "they know nothing of it"
    assert any("went to tape twice" in what for what in bad(2))
    (home / "demo/site/2611/261126/MIG_a/f0_261126T101010.dat").write_bytes(b"y")
    assert any("the site has" in what for what in bad())
    (home / "demo/tape/2611/261126/MIG_a/f1_261126T101010.dat.zip").unlink()
    assert any("on tape" in what for what in bad())
    (home / "demo/daq/data2/left").touch()
    assert any("every disk is empty" in what for what in bad())


def test_the_proof_of_the_fourth_act_sees_a_secret_in_any_byte() -> None:
    class Outside:
        def __init__(self, **read: bytes) -> None:
            self.read = {"/sites/production/files/1/log-1.txt": b"clean", **read}

        def everything(self) -> dict[str, bytes]:
            return self.read

    def told(outside: Outside) -> list[str]:
        return mirror.clean(Display(quiet=True), outside).against  # type: ignore[arg-type]

    assert told(Outside()) == []
    for secret in SECRETS:
        assert told(Outside(x=b"\0\xff" + secret.encode() + b".")) == [f"{secret} stands in x"]
    nothing = Outside()
    nothing.read = {"/": b""}
    assert told(nothing) == ["no log was served, so nothing was proved"]


def test_an_act_that_is_none_is_refused_by_name() -> None:
    done = subprocess.run([*command("dm-demo"), "--acts", "dqm,dmq"], env=environment(), capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no act 'dmq'; there are: migrate, daq, lta, dqm, datalogger" in done.stderr


def test_the_proof_of_the_third_act_sees_what_is_wrong(home: Path) -> None:
    wrote = archive.arrive(home)
    tape, names = home / "tape", list(wrote)
    tape.mkdir()

    def lay(name: str, *members: tuple[str, bytes]) -> None:
        with zipfile.ZipFile(tape / name, "w") as made:
            made.writestr("u.metadata.ndjson", b"{}")
            for member, data in members:
                made.writestr(member[1:], data)

    def bad() -> list[str]:
        return [check.what.split(",")[0][:30] for check in archive.proof(home, wrote, sorted(tape.iterdir())) if not check.good]

    with contextlib.closing(sqlite3.connect(home / "dmtools.db")) as raw, raw:
        raw.execute("INSERT INTO tally (pipeline, state, shard, n, bytes) VALUES ('lta', 'LocalFilesDeleted', 0, 2, 1)")
    lay("1.zip", *[(name, wrote[name]) for name in names[:4]])
    lay("2.zip", *[(name, wrote[name]) for name in names[4:]])
    assert bad() == []
    lay("2.zip", *[(name, wrote[name]) for name in names[3:]])
    assert bad() == ["each of the 8 files of the goo"], "one is there twice"
    lay("2.zip", (names[4], b"x"), *[(name, wrote[name]) for name in names[5:]])
    assert bad() == ["each of the 8 files of the goo"], "one is not what was written"
    lay("2.zip", *[(name, wrote[name]) for name in names[4:]])
    (home / "demo/lta/outbound/left.zip").touch()
    assert bad() == ["no zip is left in outbound"]
    (home / "demo/lta/outbound/left.zip").write_bytes(archive.SPOILT)
    assert bad() == ["the bad disk was set aside alo", "no zip is left in outbound"]
    (home / "demo/lta/outbound/left.zip").unlink()
    next((home / "demo/lta/slots").rglob("*.raw")).unlink()
    assert bad() == ["the disks are as they came"]
    lay("3.zip")
    assert bad()[-1] == "the tables say the same"


def test_the_proof_of_the_fifth_act_sees_what_is_wrong(tmp_path: Path) -> None:
    wanted = accelerator_proof.days(2, date(2026, 11, 2))
    assert [end - start for start, end in wanted] == [timedelta(hours=24), timedelta(hours=25)], "clocks went back that night"

    def lay(day: int, late: str = "", **tables: list[tuple[float, float]]) -> None:
        name = "-".join(f"{at:%Y%m%dT%H%M%SZ}" for at in wanted[day])
        with h5py.File(tmp_path / f"params-{name}{late}.h5", "w") as file:
            for table, rows in tables.items():
                made = np.array(rows, [("utc_seconds", "<f8"), ("value", "<f8")])
                file.create_dataset(table.replace("_", ":"), data=made)

    def bad() -> list[str]:
        return [text for check in accelerator_proof.files(tmp_path, ["B:X"], wanted) for text in check.against]

    good = [accelerator_proof.samples("B:X", *day) for day in wanted]
    assert [len(rows) for rows in good] == [8640, 9000]
    lay(0, B_X=good[0])
    lay(1, B_X=good[1])
    assert bad() == []
    lay(1, B_X=good[1][:-1])
    assert ["8999 samples" in text for text in bad()] == [True]
    lay(1, B_X=[*good[1][:-1], (good[1][-1][0], 1.0)])
    assert ["is not what the formula gives" in text for text in bad()] == [True]
    lay(1, B_X=good[1], N_NO=[])
    assert len(bad()) == 1 + 1, "a table that should not be there"
    lay(1, B_X=good[1])
    lay(1, "_s01", B_X=good[1])
    assert ["is there 2 times" in text for text in bad()] == [True]
    for path in tmp_path.glob("*_s01.h5"):
        path.rename(tmp_path / f".{path.name}.part")
    assert ["_s01.h5.part" in text for text in bad()] == [True]
    next(tmp_path.glob("params-20261031*.h5")).unlink()
    assert any("is not there" in text for text in bad())
