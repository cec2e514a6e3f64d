"""The frame of every pass: gate, heartbeat, report, log, exit code; shown with a pipeline of a third party."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import Result, command, environment, wait_until

Run = Callable[..., Result]


def heartbeat(home: Path) -> dict[str, Any]:
    with sqlite3.connect(home / "dmtools.db") as raw:
        raw.row_factory = sqlite3.Row
        row = raw.execute("SELECT * FROM component WHERE pipeline = 'tiny' AND name = 'work'").fetchone()
    return dict(row) if row else {}


def files(home: Path) -> dict[str, tuple[int, float]]:
    """Every file below HOME but sqlite's own companions."""
    found = (path for path in home.rglob("*") if path.is_file() and path.suffix not in (".db-wal", ".db-shm"))
    return {str(path): (path.stat().st_size, path.stat().st_mtime) for path in found}


def test_a_pass_reports_what_it_did(tiny: Run, home: Path) -> None:
    found = tiny("--units", 3, "--json").ok().json
    assert {key: found[key] for key in ("schema", "pipeline", "component", "state", "counts", "errors")} == {
        "schema": 1,
        "pipeline": "tiny",
        "component": "work",
        "state": "done",
        "counts": {"Raw>Ready": 3},
        "errors": [],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found["started"])
    assert found["seconds"] >= 0
    row = heartbeat(home)
    assert (row["pass_id"], row["state"], row["errors_in_row"]) == (found["pass"], "done", 0)
    assert row["last_success"] >= row["last_start"]


def test_a_pass_with_nothing_to_do_is_idle_and_silent(tiny: Run, home: Path) -> None:
    found = tiny("--units", 0).ok()
    assert (found.out, found.err) == ("", "")
    assert heartbeat(home)["state"] == "idle"


def test_a_dry_run_changes_nothing_and_says_the_plan(tiny: Run, home: Path) -> None:
    tiny().ok()
    before, beat = files(home), heartbeat(home)
    found = tiny("--units", 2, "--dry-run").ok()
    assert "work on 2 units" in found.out
    assert heartbeat(home) == beat
    assert files(home) == before
    real = tiny("--units", 2, "-v").ok()
    assert "work on 2 units" in real.err


@pytest.mark.parametrize(
    ("fail", "code", "state", "word"),
    [
        ("item", 1, "partial", "a bad thing: thing 1: it broke; it lies there; mend it"),
        ("told", 0, "done", "a server away: s1"),
        ("unavailable", 75, "unavailable", "no server: all: none answers"),
        ("refused", 2, "failed", "refused: this makes no sense"),
        ("bug", 1, "failed", "internal error"),
        ("ENOSPC", 75, "unavailable", "make room on that disk"),
        ("EIO", 75, "unavailable", "look at that disk"),
        ("EACCES", 75, "unavailable", "check owner, mode"),
        ("ENOENT", 75, "unavailable", "dm-config init"),
    ],
)
def test_each_failure_has_its_code_its_sentence_and_its_heartbeat(
    tiny: Run, home: Path, fail: str, code: int, state: str, word: str
) -> None:
    tiny().ok()
    success = heartbeat(home)["last_success"]
    found = tiny("--fail", fail, "--json").gave(code)
    assert found.json["state"] == state
    assert all(set(error) == {"what", "subject", "why", "left", "next"} for error in found.json["errors"])
    assert word in found.err
    assert found.err.count("\n") == 1
    row = heartbeat(home)
    assert row["state"] == state
    assert row["last_error"] > success
    assert row["error_text"] in found.err
    failed = state in ("unavailable", "failed")
    assert row["errors_in_row"] == int(failed)
    assert (row["last_success"] == success) is failed


def test_errors_in_a_row_are_counted_until_a_success(tiny: Run, home: Path) -> None:
    for number in (1, 2):
        tiny("--fail", "unavailable").gave(75)
        assert heartbeat(home)["errors_in_row"] == number
    tiny().ok()
    assert heartbeat(home)["errors_in_row"] == 0


def test_a_bug_leaves_its_traceback_in_the_log_only(tiny: Run, home: Path) -> None:
    found = tiny("--fail", "bug").gave(1)
    assert "Traceback" not in found.out + found.err
    (log,) = (home / "log").glob("tiny-work-*.log")
    assert str(log) in found.err
    assert "ZeroDivisionError: secret bug" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o640


def test_a_log_that_cannot_be_written_stops_nothing(tiny: Run, home: Path) -> None:
    (home / "log").rmdir()
    (home / "log").write_text("in the way")
    assert tiny("-v").ok()


def start(tiny: Run, home: Path, place: Path, *args: object) -> subprocess.Popen[bytes]:
    """tiny-work in the background; it waits in each unit until it is told to go on."""
    argv = command(str(home.parent / "tiny-work"), "--units", 3, "--wait", place, "--json", *args)
    env = environment(home, {"PYTHONPATH": str(home.parent / "lib")})
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until((place / "begun-0").exists, 60)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_pass_hands_its_work_back(tiny: Run, home: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = start(tiny, home, tmp_path)
    with sqlite3.connect(home / "dmtools.db") as raw:
        assert raw.execute("SELECT resource FROM lease").fetchall() == [("tiny/0",)]
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"Traceback" not in err
    assert json.loads(out)["state"] == "partial"
    with sqlite3.connect(home / "dmtools.db") as raw:
        assert raw.execute("SELECT resource FROM lease").fetchall() == []
    row = heartbeat(home)
    assert (row["last_success"], row["last_error"], row["errors_in_row"]) == (None, None, 0)


@pytest.mark.parametrize(("word", "state"), [("halt", "halted"), ("drain", "draining")])
def test_a_word_stops_before_the_next_unit(tiny: Run, home: Path, tmp_path: Path, word: str, state: str) -> None:
    process = start(tiny, home, tmp_path)
    tiny(word, "tiny/work", name="dm-command").ok()
    (tmp_path / "go-0").touch()
    out, _ = process.communicate(timeout=60)
    found = json.loads(out)
    assert process.returncode == 0
    assert (found["state"], found["counts"]) == (state, {"Raw>Ready": 1})
    assert not (tmp_path / "begun-1").exists()


@pytest.mark.parametrize(
    ("holds", "state"),
    [
        ([("halt", "all")], "halted"),
        ([("halt", "tiny")], "halted"),
        ([("halt", "tiny/work")], "halted"),
        ([("halt", "tiny/rest")], "done"),
        ([("halt", "migrate")], "done"),
        ([("drain", "tiny")], "draining"),
        ([("drain", "all"), ("halt", "tiny/work")], "halted"),
        ([("halt", "all"), ("drain", "tiny/work")], "halted"),
        ([("halt", "tiny"), ("run", "tiny")], "done"),
        ([("halt", "tiny/work"), ("run", "all")], "done"),
        ([("halt", "all"), ("run", "tiny")], "halted"),
        ([("halt", "tiny"), ("drain", "tiny")], "draining"),
    ],
)
def test_halt_beats_drain_beats_run(tiny: Run, home: Path, holds: list[tuple[str, str]], state: str) -> None:
    for word, scope in holds:
        tiny(word, scope, name="dm-command").ok()
    found = tiny("--json").ok().json
    assert found["state"] == state
    assert found["counts"] == ({"Raw>Ready": 1} if state == "done" else {})


def test_a_halted_pass_is_no_success(tiny: Run, home: Path) -> None:
    tiny("halt", name="dm-command").ok()
    assert tiny().ok().out == ""
    row = heartbeat(home)
    assert (row["state"], row["last_success"], row["last_error"]) == ("halted", None, None)
    assert row["last_start"]


def test_the_calendar_holds_and_lets_go_by_itself(tiny: Run, home: Path) -> None:
    def plan(start: str, end: str) -> str:
        return f'[[control.calendar]]\nscope = "tiny"\nstate = "drain"\nreason = "power"\nstart = "{start}"\nend = "{end}"\n'

    text = (home / "dmtools.toml").read_text()
    (home / "dmtools.toml").write_text(text + plan("2001-01-01", "2001-01-02") + plan("2020-01-01", "2998-01-01 12:00"))
    assert tiny("--json").ok().json["state"] == "draining"
    shown = tiny("--json", name="dm-command").ok().json
    (hold,) = shown["holds"]
    assert (hold["kind"], hold["scope"], hold["reason"]) == ("calendar", "tiny", "power")
    said = tiny("run", "tiny", name="dm-command").ok()
    assert "held all the same" in said.err
    assert tiny("--json", env={"DMTOOLS_CLOCK_OFFSET": str(1000 * 365.25 * 86400)}).ok().json["state"] == "done"


def test_a_hold_with_an_end_is_over_then(tiny: Run, home: Path) -> None:
    tiny("halt", "tiny", "--until", "+1h", name="dm-command").ok()
    assert tiny("--json").ok().json["state"] == "halted"
    assert tiny("--json", env={"DMTOOLS_CLOCK_OFFSET": "3700"}).ok().json["state"] == "done"


def test_a_killed_pass_leaves_no_lock(tiny: Run, home: Path, tmp_path: Path) -> None:
    process = start(tiny, home, tmp_path)
    process.kill()
    process.communicate()
    assert tiny("--json").ok().json["counts"] == {"Raw>Ready": 1}
