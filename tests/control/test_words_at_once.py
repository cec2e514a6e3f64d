"""Many words said at once, and a word whose command is killed anywhere: the table of holds stays sane."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from dmtools import clock
from dmtools.control import holds, orders
from dmtools.control.orders import Order
from dmtools.ledger import open_ledger
from dmtools.settings import load
from tests.faults.calls import disturbed, relevant
from tests.support import command, environment, run

WORDS = ("halt", "drain")


def say_at_once(home: Path, *said: tuple[str, ...], env: dict[str, str] | None = None) -> None:
    """All of these words by commands that start together; each ends well."""
    started = [
        subprocess.Popen(
            command("dm-command", *words), env=environment(home, env), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for words in said
    ]
    for process in started:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert err == b"" or b" is held all the same: " in err, "`run` says so of a wider hold that came meanwhile"


def test_ten_at_once_leave_one_hold_a_scope_that_one_of_them_said(home: Path) -> None:
    said = [(word, scope, "--reason", f"{word} {n}") for n, word in enumerate(WORDS * 3) for scope in ("migrate", "all")]
    say_at_once(home, *said[:10])
    holds = run("dm-command", "--json", home=home).ok().json["holds"]
    assert sorted(hold["scope"] for hold in holds) == ["all", "migrate"]
    assert all(hold["reason"].startswith(hold["state"]) for hold in holds)
    with closing(sqlite3.connect(home / "dmtools.db")) as raw:
        rows = raw.execute("SELECT scope, COUNT(*), SUM(cleared_at IS NULL) FROM hold GROUP BY scope").fetchall()
    assert rows == [("all", 5, 1), ("migrate", 5, 1)], "every word is kept, and all but the last of each scope are over"
    say_at_once(home, *[("run",)] * 5)
    assert run("dm-command", "--json", home=home).ok().json["holds"] == []


def test_words_and_their_end_at_once(home: Path) -> None:
    say_at_once(home, *[("halt", "migrate"), ("run", "migrate"), ("drain", "migrate/monitor"), ("run",), ("drain",)] * 2)
    scopes = Counter(hold["scope"] for hold in run("dm-command", "--json", home=home).ok().json["holds"])
    assert scopes.most_common(1) == [] or scopes.most_common(1)[0][1] == 1
    run("dm-command", "run", home=home).ok()
    assert run("dm-command", "--json", home=home).ok().json["state"] == "run"


@pytest.mark.needs("mariadb")
def test_ten_at_once_on_mariadb(home: Path, mariadb: str) -> None:
    path = home / "dmtools.toml"
    path.write_text(f'database.url = "{mariadb}"\n{path.read_text()}')
    run("dm-db", "upgrade", home=home).ok()
    say_at_once(home, *[(WORDS[n % 2], "migrate", "--reason", str(n)) for n in range(10)])
    (hold,) = run("dm-command", "--json", home=home).ok().json["holds"]
    assert hold["state"] == WORDS[int(hold["reason"]) % 2]
    run("dm-command", "run", "migrate", home=home).ok()
    assert run("dm-command", "--json", home=home).ok().json["holds"] == []


@pytest.mark.needs("mariadb")
def test_words_that_meet_in_one_instant_on_mariadb_leave_one_hold(home: Path, mariadb: str) -> None:
    path = home / "dmtools.toml"
    path.write_text(f'database.url = "{mariadb}"\n{path.read_text()}')
    run("dm-db", "upgrade", home=home).ok()
    ledger, together = open_ledger(load(home=home)), threading.Barrier(5)

    def say(n: int) -> None:
        together.wait(60)
        ledger.transact(lambda c: orders.obey(c, Order(WORDS[n % 2], ("migrate",), f"person{n}"), clock.now()))

    try:
        for _ in range(10):
            with ThreadPoolExecutor(5) as pool:
                list(pool.map(say, range(5)))
            with ledger.read() as connection:
                assert len(holds.uncleared(connection)) == 1
    finally:
        ledger.close()


@pytest.fixture
def halted(home: Path) -> Iterator[Path]:
    """A HOME with the word `drain`; the words of the tests are said over copies of it."""
    run("dm-command", "drain", "migrate", "--reason", "old", home=home).ok()
    saved = home.with_name("saved")
    shutil.copytree(home, saved, symlinks=True)
    yield saved
    shutil.rmtree(saved)


@pytest.mark.needs("strace")
@pytest.mark.parametrize(("words", "new"), [(("halt", "migrate", "--reason", "new"), [("halt", "new")]), (("run",), [])])
def test_killed_at_any_call_it_leaves_the_old_word_or_the_new_one(
    home: Path, halted: Path, tmp_path: Path, words: tuple[str, ...], new: list[tuple[str, str]]
) -> None:
    def fresh() -> None:
        shutil.rmtree(home)
        shutil.copytree(halted, home, symlinks=True)

    def standing() -> list[tuple[str, str]]:
        found = run("dm-command", "--json", home=home).ok().json
        assert found["pipelines"]["migrate"]["state"] == (found["holds"][0]["state"] if found["holds"] else "run")
        return [(hold["state"], hold["reason"]) for hold in found["holds"]]

    argv, env, log = command("dm-command", *words), environment(home), tmp_path / "strace.log"
    points = relevant(argv, env, home, log)
    assert len(points) > 5
    ends = Counter[str]()
    for call in points:
        fresh()
        outcome = disturbed(argv, env, home, log, call, "signal=KILL")
        found = standing()
        assert found in ([("drain", "old")], new), f"killed at {call}"
        ends["new" if found == new else "old"] += 1
        assert outcome.code == -9 or found == new, f"{call}: it said that all is well"
    assert ends["new"] > 0
    assert ends["old"] > 0
