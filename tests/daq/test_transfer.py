"""daq-transfer: what it does on good days, and each thing that broke in the original and must not break here."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.daq.disk_steps import Disks, adler, data, lfn, told
from tests.support import command, environment, run


@pytest.fixture
def disks(home: Path) -> Disks:
    """A HOME whose disks are empty."""
    return Disks(home)


def test_from_a_full_disk_to_the_site_and_back_to_the_daq(disks: Disks) -> None:
    bodies = {data(name): os.urandom(size) for name, size in (("a", 0), ("b", 300), ("c", 300_000), ("d", 9_000_000))}
    for path, body in bodies.items():
        disks.file(path, body)
    disks.file(data("other"), disk=2)  # its disk has no flag
    disks.flag()
    disks.settings(ready_mode="0664")
    first = disks.transfer().json
    assert first["counts"] == {">Found": 4, "Found>Copied": 4, "Copied>AtSite": 4}
    for path, body in bodies.items():
        assert disks.copy(path).read_bytes() == body
        assert (disks.disk() / path).read_bytes() == body
    assert {path: disks.sql("SELECT checksum FROM daq_file WHERE path = ?", path)[0][0] for path in bodies} == {
        path: adler(body) for path, body in bodies.items()
    }
    assert disks.transfer().json["state"] == "idle"
    disks.to_tape()
    last = disks.transfer().json
    assert last["counts"] == {"OnTape>Freed": 4, "Emptying>Free": 1}
    assert [path.name for path in disks.disk().iterdir()] == ["ReadyForData"]
    assert stat.S_IMODE((disks.disk() / "ReadyForData").stat().st_mode) == 0o664
    assert set(disks.states().values()) == {"Freed"}
    assert disks.disk_states() == ["Free", "Filling", "Filling", "Filling"]
    assert not [path for path in (disks.home / "demo/site").rglob("*") if path.name.startswith(".")]
    assert (disks.disk(2) / data("other")).exists()


def test_a_disk_that_was_given_back_is_filled_again_with_the_same_names(disks: Disks) -> None:
    disks.settings(safety="site-verified")
    body = disks.file(data("a")).read_bytes()
    disks.flag()
    disks.transfer()
    assert disks.disk_states()[0] == "Free"
    (disks.disk() / "ReadyForData").unlink()
    disks.transfer()
    assert disks.disk_states()[0] == "Filling"
    disks.file(data("a"), body)
    disks.file(data("b"))
    disks.flag()
    disks.to_tape()
    disks.transfer()
    states = disks.sql("SELECT path, state, twin_id FROM daq_file ORDER BY path, twin_id DESC")
    assert states == [(data("a"), "Freed", 1), (data("a"), "Freed", None), (data("b"), "AtSite", None)]
    assert disks.copy(data("a")).read_bytes() == body
    assert disks.flags() == ["ReadyForData"]


def test_dry_run_writes_nothing_and_says_what_would_be_done(disks: Disks) -> None:
    disks.file(data("a"))
    disks.file("notes.txt")
    disks.flag()
    before = sorted(str(path) for path in disks.home.rglob("*"))
    dump = disks.sql("SELECT * FROM daq_file"), disks.sql("SELECT * FROM daq_disk"), disks.sql("SELECT * FROM journal")
    said = run("daq-transfer", "--dry-run", home=disks.home).ok().out
    assert "would record 1 new files and tell 1" in said
    assert "would copy 1 files" in said
    assert sorted(str(path) for path in disks.home.rglob("*")) == before
    assert (disks.sql("SELECT * FROM daq_file"), disks.sql("SELECT * FROM daq_disk"), disks.sql("SELECT * FROM journal")) == dump


# ---- what broke ------------------------------------------------------------------------------------------------------


def test_1_nothing_is_removed_whose_copy_the_storage_does_not_confirm_again(disks: Disks) -> None:
    """The stored checksum is that of the one read, and is compared; right before the delete the site is asked once more."""
    disks.settings(keep_site=True)
    sources = [disks.file(data(name)) for name in "abc"]
    disks.flag()
    disks.transfer()
    disks.to_tape()
    disks.copy(data("a")).write_bytes(b"cut short")
    disks.copy(data("b")).unlink()
    done = disks.transfer(code=1)
    assert [path.exists() for path in sources] == [True, True, False]
    assert "has 9 bytes, not 300" in told(done)
    assert "not at the site any more" in told(done)
    assert disks.states() == {data("a"): "Bad", data("b"): "Bad", data("c"): "Freed"}
    assert disks.flags() == ["ReadyToTransfer"]


@pytest.mark.needs("strace")
def test_2_a_killed_copy_is_no_success_and_a_path_with_error_in_it_is_no_failure(disks: Disks) -> None:
    bodies = {path: disks.file(path).read_bytes() for path in (data("error"), data("Error: failed"))}
    disks.transfer()  # makes run/home-id
    disks.flag()
    kill = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=syncfs,fsync,renameat2", "-e", "inject=renameat2:signal=KILL")
    run("daq-transfer", home=disks.home, prefix=kill).gave(-9)
    assert set(disks.states().values()) == {"Copied"}
    assert not [path for path in (disks.home / "demo/site").rglob("*.dat") if path.is_file()]
    assert disks.transfer().json["counts"]["Copied>AtSite"] == 2
    for path, body in bodies.items():
        assert disks.copy(path).read_bytes() == body
    assert not list((disks.home / "demo/site").rglob(".*"))


def test_3_the_source_stays_until_its_file_is_on_tape(disks: Disks) -> None:
    """The default. With site-verified it goes at the site's proof, and the file is Freed when it comes to tape."""
    source = disks.file(data("a"))
    disks.flag()
    for _ in range(2):
        disks.transfer()
        assert source.exists()
    disks.settings(safety="site-verified")
    assert disks.transfer().json["counts"] == {"AtSite>removed": 1, "Emptying>Free": 1}
    assert not source.exists()
    assert disks.states() == {data("a"): "AtSite"}


def test_7_what_is_written_after_the_scan_is_never_removed(disks: Disks) -> None:
    disks.file(data("a"))
    disks.flag()
    disks.transfer()
    late = disks.file(f"{data('a')}.late/deep/notes")  # beside what is removed
    disks.to_tape()
    disks.transfer()
    assert late.exists()
    assert not (disks.disk() / data("a")).exists()
    assert disks.flags() == ["ReadyToTransfer"]
    late.unlink()
    disks.transfer()
    assert [path.name for path in disks.disk().iterdir()] == ["ReadyForData"]  # empty parents are gone


@pytest.mark.parametrize("seen", ["by the scan", "at its removal"])
def test_7_a_file_that_changed_after_its_copy_is_not_removed_but_copied_again(disks: Disks, seen: str) -> None:
    source = disks.file(data("a"))
    disks.flag()
    disks.transfer()
    source.write_bytes(b"another text")
    if seen == "at its removal":  # the scan passes over what didn't change
        os.utime(source.parent, (1, 1))
    disks.settings(safety="site-verified")
    done = disks.transfer()
    if seen == "at its removal":
        assert "changed after its copy" in told(done)
        assert source.read_bytes() == b"another text"
        assert disks.states()[data("a")] == "Found"
        disks.transfer()
    else:
        assert done.json["counts"]["AtSite>Found"] == 1
    assert disks.copy(data("a")).read_bytes() == b"another text"
    assert disks.disk_states()[0] == "Free"


def test_7_a_file_that_changed_when_it_is_on_tape_stays_and_is_told(disks: Disks) -> None:
    source = disks.file(data("a"))
    disks.flag()
    disks.transfer()
    disks.to_tape()
    with source.open("ab") as file:
        file.write(b"more")
    os.utime(source.parent, (1, 1))
    assert "the site and the tape have it as it was" in told(disks.transfer(code=1))
    assert source.exists()
    assert disks.states() == {data("a"): "Bad"}


@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", ["renameat2", "unlink"])
def test_8_killed_between_copied_and_unlinked_the_file_goes_and_the_disk_is_handed_back(disks: Disks, call: str) -> None:
    disks.file(data("a"))
    disks.file(data("b"))
    disks.flag()
    disks.transfer()
    disks.to_tape()
    kill = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when=2")
    run("daq-transfer", home=disks.home, prefix=kill).gave(-9)
    assert set(disks.states().values()) == {"OnTape"}
    disks.transfer()
    assert set(disks.states().values()) == {"Freed"}
    assert disks.flags() == ["ReadyForData"]


def test_9_what_can_not_be_taken_keeps_its_disk_and_is_told(disks: Disks) -> None:
    disks.file(data("a"))
    disks.file("MIG_run1/run_notes.txt")
    disks.file("MIG_run1/.hidden_240716T1.dat")
    disks.file("elsewhere/x_240716T1.dat")
    disks.file("MIG_run1/x_241316T1.dat")  # there is no 13th month
    (disks.disk() / "MIG_run1/link_240716T1.dat").symlink_to("/etc/passwd")
    os.mkfifo(disks.disk() / "MIG_run1/pipe_240716T1.dat")
    (disks.disk() / "lost+found").mkdir()
    disks.flag()
    done = told(disks.transfer())
    for why in ("no date in its name", "a dot-file", "doesn't fit [daq] pattern", "a symbolic link", "no regular file"):
        assert why in done
    disks.to_tape()
    assert "6 Skipped are left on it" in told(disks.transfer())
    assert disks.flags() == ["ReadyToTransfer"]
    assert disks.states() == {
        data("a"): "Freed",
        "MIG_run1/run_notes.txt": "Skipped",
        "MIG_run1/.hidden_240716T1.dat": "Skipped",
        "elsewhere/x_240716T1.dat": "Skipped",
        "MIG_run1/x_241316T1.dat": "Skipped",
        "MIG_run1/link_240716T1.dat": "Skipped",
        "MIG_run1/pipe_240716T1.dat": "Skipped",
    }
    for path, state in disks.states().items():
        if state == "Skipped":
            (disks.disk() / path).unlink()
    disks.transfer()
    assert disks.states() == {data("a"): "Freed"}
    assert sorted(path.name for path in disks.disk().iterdir()) == ["ReadyForData", "lost+found"]


def test_9_a_second_file_of_an_lfn_is_never_written_over_the_first(disks: Disks) -> None:
    same, other = b"the same", b"one"
    disks.file(data("same"), same)
    disks.file(data("other"), other)
    disks.file(data("same"), same, disk=2)
    disks.file(data("other"), b"two", disk=2)
    disks.flag()
    disks.flag(2)
    done = disks.transfer(code=1)
    assert "data1/MIG_run1/raw/other" in told(done)
    assert "data2/MIG_run1/raw/other" in told(done)
    assert disks.copy(data("other")).read_bytes() == other
    by_disk = disks.sql("SELECT disk_id, path, state, error_class FROM daq_file ORDER BY disk_id, path")
    assert [row[2:] for row in by_disk] == [("AtSite", None), ("AtSite", None), ("Bad", "occupied"), ("Skipped", None)]
    disks.to_tape()
    disks.transfer()
    assert disks.flags(1) == ["ReadyForData"]
    assert disks.flags(2) == ["ReadyToTransfer"]
    assert not (disks.disk(2) / data("same")).exists()
    assert (disks.disk(2) / data("other")).read_bytes() == b"two"


def test_9_what_stands_at_the_site_already_is_never_written_over(disks: Disks) -> None:
    disks.file(data("a"), b"ours")
    disks.file(data("b"), b"equal")
    for path, body in ((data("a"), b"theirs"), (data("b"), b"equal")):
        disks.copy(path).parent.mkdir(parents=True, exist_ok=True)
        disks.copy(path).write_bytes(body)
    disks.flag()
    assert "is there already with other bytes" in told(disks.transfer(code=1))
    assert disks.copy(data("a")).read_bytes() == b"theirs"
    assert disks.states() == {data("a"): "Bad", data("b"): "AtSite"}
    disks.copy(data("a")).unlink()
    disks.transfer("--retry", lfn(data("a")))
    assert disks.copy(data("a")).read_bytes() == b"ours"


NAMES = [
    b"a b",
    b"it's",
    b'"quoted"',
    b"two\nlines",
    b"tab\there",
    b"\xff\xfe",
    "Mößbauer".encode(),
    b"$(rm -rf)",
    b"-rf",
    b"100%25",
    b"error",
]


def test_10_every_name_goes_through_and_checksums_have_eight_digits(disks: Disks) -> None:
    paths = [b"MIG_run1/" + name + b"_240716T1.dat" for name in NAMES]
    for path in paths:
        disks.file(path, b"")  # its checksum is 1
    disks.flag()
    disks.transfer()
    assert {row[0] for row in disks.sql("SELECT checksum FROM daq_file")} == {"adler32:00000001"}
    for path in paths:
        assert disks.copy(path).read_bytes() == b""
    disks.to_tape()
    disks.transfer()
    assert disks.flags() == ["ReadyForData"]


def test_11_ten_at_once_do_the_work_of_one_in_one_database(disks: Disks) -> None:
    for number in range(1, 4):
        for name in range(40):
            disks.file(data(f"{number}-{name}"), disk=number)
        disks.flag(number)
    at_once(disks, 10)
    disks.transfer()
    assert set(disks.states().values()) == {"AtSite"}
    moves = disks.sql("SELECT COUNT(*), COUNT(DISTINCT item) FROM journal WHERE kind = 'daq-file' AND to_state = 'AtSite'")
    assert moves == [(120, 120)]
    disks.to_tape()
    at_once(disks, 10)
    disks.transfer()
    assert set(disks.states().values()) == {"Freed"}
    assert disks.disk_states() == ["Free", "Free", "Free", "Filling"]
    assert disks.sql("SELECT COUNT(*) FROM lease") == [(0,)]


def at_once(disks: Disks, copies: int) -> None:
    """So many daq-transfer, started together; all must end well."""
    argv = command("daq-transfer")
    started = [
        subprocess.Popen(argv, env=environment(disks.home), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for _ in range(copies)
    ]
    ends = [(process.communicate(timeout=120)[1], process.returncode) for process in started]
    assert [end for end in ends if end[1] != 0 or b"Traceback" in end[0]] == []
