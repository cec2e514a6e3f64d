"""daq-audit: what is on tape is read again, and only what the tape itself says is wrong is called bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.daq.tape_steps import DAY, Tape, adler, below, flip, strace
from tests.support import Result, run


@pytest.fixture
def tape(home: Path) -> Tape:
    return Tape(home)


def audit(tape: Tape, *args: object, **more: Any) -> Result:
    return run("daq-audit", *args, home=tape.home, **more)


def set_daq(tape: Tape, text: str) -> None:
    path = tape.home / "dmtools.toml"
    path.write_text(f"{path.read_text()}\n[daq]\n{text}\n")


def audited(tape: Tape) -> set[str]:
    """The zips that were read since they were put there."""
    rows = tape.sql(
        "SELECT z.name FROM daq_zip z JOIN journal j ON j.item = z.id WHERE j.kind = 'daq-zip' AND j.why LIKE 'read back%'"
    )
    return {name.rpartition("/")[2] for (name,) in rows}


def test_a_night_reads_its_share_longest_unread_first_and_nothing_before_its_time(tape: Tape) -> None:
    set_daq(tape, "audit_percent = 40\naudit_days = 30")
    for name, days, read in (("young", 5, None), ("fresh", 90, 10), ("old", 200, 60), ("older", 200, 90), ("never", 50, None)):
        tape.put({f"{DAY}{name}": name.encode()}, days=days, audited=read)
    plan = audit(tape, "--dry-run").ok().out
    assert "never" in plan
    assert "older" in plan
    assert audited(tape) == set()
    assert audit(tape, "--json").ok().json["errors"] == []
    assert audited(tape) == {"never.zip", "older.zip"}  # two of five
    audit(tape, "--most", 1).ok()
    assert audited(tape) == {"never.zip", "older.zip", "old.zip"}
    assert audit(tape).ok().err == ""  # nothing more is due
    assert audited(tape) == {"never.zip", "older.zip", "old.zip"}
    assert set(tape.states().values()) == {"Freed"}


def test_a_flipped_bit_on_tape_is_bad_and_the_copy_that_is_left_is_named(tape: Tape) -> None:
    set_daq(tape, "audit_percent = 100")
    good, bad = DAY + "good", DAY + "bad"
    tape.put({good: b"g" * 5000})
    zipped = tape.put({bad: b"b" * 5000, DAY + "its%20brother": b"c" * 99})
    flip(zipped, 300)
    done = audit(tape).gave(1)
    site = below(tape.home / "demo/site", bad)
    assert f"bad on tape: {bad}" in done.err
    step = f"remove file://{zipped} from the tape, then daq-archive --retry {bad} zips it again"
    assert f"its copy at the site is there and equal: file://{site}; {step}" in done.err
    assert tape.states() == {good: "Freed", bad: "Bad", DAY + "its%20brother": "Bad"}
    rows = tape.sql("SELECT state, error_class, reason FROM daq_zip WHERE state = 'Bad'")
    assert [row[:2] for row in rows] == [("Bad", "checksum")]
    assert audited(tape) == {"good.zip"}
    assert audit(tape).ok().err == ""  # told once, then it is a person's


def test_a_zip_whose_own_checksum_is_right_but_holds_another_file_is_bad(tape: Tape) -> None:
    """The books' own chain: what was zipped must be what was on the DAQ's disk."""
    lfn = DAY + "x"
    tape.put({lfn: b"x" * 5000})
    import sqlite3

    with sqlite3.connect(tape.home / "dmtools.db") as db:
        db.execute("UPDATE daq_file SET checksum = ?", (adler(b"y" * 5000),))
    done = audit(tape, lfn).gave(1)
    assert f"{lfn} in file://{tape.home}/demo/tape{lfn}.zip is not the original" in done.err
    assert "could not be proved" in done.err  # the site's copy is x, too
    assert tape.states() == {lfn: "Bad"}


def test_a_tape_that_is_away_makes_nothing_bad(tape: Tape) -> None:
    set_daq(tape, "audit_percent = 100")
    for name in ("a", "b"):
        tape.put({f"{DAY}{name}": b"1"})
    place, aside = tape.home / "demo/tape", tape.home / "demo/unmounted"
    place.rename(aside)
    assert "tape not read" in audit(tape).gave(75).err
    place.mkdir()  # an empty mount point
    assert "nothing is called bad" in audit(tape).gave(75).err
    assert set(tape.states().values()) == {"Freed"}
    assert audited(tape) == set()
    place.rmdir()
    aside.rename(place)
    below(place, DAY + "a.zip").unlink()
    assert "bad on tape" in audit(tape).gave(1).err  # the tape is there, the zip is not
    assert tape.states() == {DAY + "a": "Bad", DAY + "b": "Freed"}
    assert tape.sql("SELECT error_class FROM daq_zip WHERE state = 'Bad'") == [("missing",)]


@pytest.mark.needs("strace")
def test_an_audit_killed_at_any_stage_books_nothing_wrong_and_leaves_no_scratch(tape: Tape, short_tmp: Path) -> None:
    lfn, scratch = DAY + "x", short_tmp / "scratch"
    scratch.mkdir()
    set_daq(tape, f'audit_percent = 100\nscratch = "{scratch}"')
    tape.put({lfn: b"x" * 5000})
    for stage in ("mkdir:signal=KILL:when=1", "rename:signal=KILL:when=1"):
        done = audit(tape, prefix=strace(stage))
        assert done.code == -9
        assert tape.states() == {lfn: "Freed"}
    assert [*scratch.iterdir()] != []
    audit(tape).ok()
    assert [*scratch.iterdir()] == []
    assert audited(tape) == {"x.zip"}
