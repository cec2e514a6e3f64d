"""daq-restore: files back from tape, proved equal to the original before they appear."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools import names
from tests.daq.tape_steps import DAY, NASTY, Tape, adler, below, flip, lay, lfn_of, strace, tree
from tests.migrate.steps import Site
from tests.real_components import XRootD
from tests.support import Server


@pytest.fixture
def tape(home: Path) -> Tape:
    return Tape(home)


@pytest.mark.needs("strace")
def test_every_name_comes_back_equal_from_one_fetch_of_the_zip(tape: Tape, short_tmp: Path) -> None:
    zipped = tape.put({lfn_of(name): name * 3000 for name in NASTY} | {DAY + "empty": b""})
    back, trace, listed = short_tmp / "back", short_tmp / "trace", short_tmp / "list"
    listed.write_bytes(b"# wanted\n" + b"".join(b"%b%b\n" % (DAY.encode(), name) for name in NASTY if b"\n" not in name))
    spelt = lfn_of(b"two\nlines.dat")  # a list can't hold it; dm-trace shows it so
    prefix = ("strace", "-f", "-qq", "-o", trace, "-e", "trace=openat", "-P", zipped)
    done = tape.restore("--list", listed, spelt, DAY + "empty", to=back, prefix=prefix, env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert done.gave(0).err == ""
    assert tree(back) == {names.decode(lfn).lstrip(b"/"): data for lfn, data in tape.files.items()}
    assert len(re.findall(r"openat\(.*O_RDONLY", trace.read_text())) == 1
    assert below(back, DAY + "empty").stat().st_mtime_ns == 1_700_000_000_123_456_789


def test_nothing_that_is_there_is_replaced_and_the_rest_goes_on(tape: Tape, short_tmp: Path) -> None:
    equal, other, free = (DAY + name for name in ("equal", "other", "free"))
    tape.put({equal: b"1" * 100, other: b"2" * 100, free: b"3" * 100})
    back = short_tmp / "back"
    lay(back, {equal: b"1" * 100, other: b"someone's"})
    done = tape.restore(equal, other, free, DAY + "unknown", to=back).gave(1)
    assert f"{other}: {below(back, other)} is there and is not this file; it was left as it is" in done.err
    assert f"unknown file: {DAY}unknown: no file has this LFN" in done.err
    wanted = {equal: b"1" * 100, other: b"someone's", free: b"3" * 100}
    assert tree(back) == {lfn[1:].encode(): data for lfn, data in wanted.items()}
    assert "is there already, equal" in tape.restore(equal, free, to=back).ok().out  # again: done, and nothing is fetched
    assert f"would restore {free} from" in tape.restore(free, "--dry-run", to=short_tmp / "new").ok().out
    assert not (short_tmp / "new").exists()


def test_one_flipped_bit_in_the_zip_and_nothing_of_it_appears(tape: Tape, short_tmp: Path) -> None:
    bad, good, back = DAY + "bad", DAY + "good", short_tmp / "back"
    zipped = tape.put({bad: b"b" * 9000, DAY + "brother": b"c" * 9000})
    tape.put({good: b"g" * 9000})
    flip(zipped, zipped.stat().st_size // 2)
    done = tape.restore(bad, DAY + "brother", good, to=back).gave(1)
    for lfn in (bad, DAY + "brother"):
        assert f"not restored: {lfn}: {zipped} was not copied: its checksum is" in done.err
    assert tree(back) == {good[1:].encode(): b"g" * 9000}
    assert tape.states()[bad] == "Freed"  # reading is no verdict: that is daq-audit's


def test_a_file_in_the_zip_that_is_not_the_original_is_refused(tape: Tape, short_tmp: Path) -> None:
    """The zip is what was uploaded, bit for bit; what the DAQ had written was something else."""
    lfn = DAY + "x"
    tape.put({lfn: b"x" * 100})
    with sqlite3.connect(tape.home / "dmtools.db") as db:
        db.execute("UPDATE daq_file SET checksum = 'adler32:00000bad'")
    done = tape.restore(lfn, to=short_tmp / "back").gave(1)
    assert "is not the original: 100 bytes, adler32:" in done.err
    assert "the books say 100 bytes, adler32:00000bad" in done.err
    assert tree(short_tmp / "back") == {}


def test_a_file_that_is_not_on_tape_yet_is_told_where_it_is(tape: Tape, short_tmp: Path) -> None:
    lfn = DAY + "x"
    tape.put({lfn: b"x" * 100})
    with sqlite3.connect(tape.home / "dmtools.db") as db:
        db.execute("UPDATE daq_zip SET state = 'ToTape', proved = NULL")
        db.execute("UPDATE daq_file SET state = 'ToTape'")
    done = tape.restore(lfn, to=short_tmp / "back").gave(1)
    assert f"not on tape: {lfn}: it is ToTape" in done.err
    assert f"its copy at the site is file://{below(tape.home / 'demo/site', lfn)}" in done.err


def test_without_tables_the_zip_proves_itself(tape: Tape, short_tmp: Path) -> None:
    """Rows lost, disks and site gone: the tape and the name of the file are enough."""
    first, second, back = DAY + "a%20b", DAY + "c", short_tmp / "back"
    tape.put({first: b"a" * 100})
    zipped = tape.put({second: b"c" * 100})
    (tape.home / "dmtools.db").unlink()
    shutil.rmtree(tape.home / "demo/site")
    tape.restore(DAY + "a b", second, "--without-tables", to=back).ok()
    assert tree(back) == {names.decode(lfn)[1:]: data for lfn, data in tape.files.items()}
    with zipped.open("r+b") as file:  # the manifest's word against the member's
        content = file.read().replace(adler(b"c" * 100)[8:].encode(), b"00000bad")
        file.seek(0)
        file.write(content)
    done = tape.restore(second, "--without-tables", to=short_tmp / "again").gave(1)
    assert "Bad CRC-32 for file 'MANIFEST.json'" in done.err
    assert tree(short_tmp / "again") == {}


def test_a_tape_that_is_away_is_75_and_wrong_use_is_2(tape: Tape, short_tmp: Path) -> None:
    lfn = DAY + "x"
    tape.put({lfn: b"x"})
    assert "name LFNs, or a list" in tape.restore(to=short_tmp / "back").gave(2).err
    assert "is no LFN" in tape.restore("x", to=short_tmp / "back").gave(2).err
    assert "could not be read" in tape.restore("--list", "/nowhere", to=short_tmp / "back").gave(2).err
    path = tape.home / "dmtools.toml"
    path.write_text(path.read_text() + '\n[daq]\ntape = "root://127.0.0.1:1//tape"\n')
    done = tape.restore(lfn, to=short_tmp / "back").gave(75)
    assert "the same command again later" in done.err
    assert tree(short_tmp / "back") == {}


@pytest.mark.needs("strace")
def test_a_restore_killed_at_every_stage_is_finished_by_the_next(tape: Tape, short_tmp: Path) -> None:
    files = {DAY + name: name.encode() * 50_000 for name in ("a", "b")}
    tape.put(files)
    back = short_tmp / "back"
    for call, when in (("mkdir", 2), ("rename", 1), ("renameat2", 1)):
        done = tape.restore(*files, to=back, prefix=strace(f"{call}:signal=KILL:when={when}"))
        assert done.code == -9, call
        found = {name: data for name, data in tree(back).items() if not name.startswith(b".")}
        assert found.items() <= {lfn[1:].encode(): data for lfn, data in files.items()}.items()
    tape.restore(*files, to=back).ok()
    assert tree(back) == {lfn[1:].encode(): data for lfn, data in files.items()}
    assert [path.name for path in back.iterdir()] == ["2401"]


@pytest.mark.needs("xrootd")
def test_what_is_on_tape_only_is_staged_in_by_fts_once_however_often_it_is_asked(
    tape: Tape, short_tmp: Path, serve: Callable[..., Server], xrootd_server: Callable[..., XRootD]
) -> None:
    """A real XRootD server that says NEARLINE, and an FTS server that takes its time."""
    lfn, back, server, site = DAY + "a%20b", short_tmp / "back", xrootd_server(), Site(tape.home, serve)
    zipped = tape.put({lfn: b"x" * 100})
    far = below(Path(server.data) / "tape", lfn + ".zip")
    far.parent.mkdir(parents=True)
    shutil.copyfile(zipped, far)
    os.setxattr(far, "user.U.user.status", b"NEARLINE")
    subprocess.run(["chown", "-R", "--reference", server.data, Path(server.data) / "tape"], check=True)
    site.only()
    site.settings(f'[daq]\ntape = "{server.url}tape"\n')
    assert "no FTS server brings it from tape now" in tape.restore(lfn, to=back).gave(75).err
    site.start("--staging", "3600")
    told = [tape.restore(lfn, "--wait", 0, to=back).gave(75).err for _ in range(2)]
    (job,) = {found[1] for text in told if (found := re.search(r"it is asked of the tape \(FTS job (\S+) at fts1\)", text))}
    assert len(site.ask("/sim/submissions")) == 1
    assert tree(back) == {}
    site.ask(f"/jobs/{job}", method="DELETE")  # somebody cancels it: then it is asked anew
    site.servers["fts1"].stop()
    site.start("--staging", "0")
    tape.restore(lfn, "--wait", 60, to=back).ok()
    assert tree(back) == {names.decode(lfn)[1:]: b"x" * 100}
