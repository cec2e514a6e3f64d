"""The control words with work under way, at real servers: what producer, consumer and monitor do, and what goes on."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.migrate.steps import Site
from tests.support import Server, command, environment, wait_until

COMPONENTS = ("producer", "consumer", "monitor")
SLOW = '[[fault]]\nmatch = "/echo/slow"\nop = "slow"\nseconds = 3\n'
STALL = '[[fault]]\nmatch = "/echo/slow"\nop = "stall"\nseconds = 600\n'
UNDER_WAY = ["/slow/1", "/slow/2"]
WAITS = ["/later/1"]
UNCUT = ["/uncut/1", "/uncut/2"]


@dataclass
class Words(Site):
    """A Site whose people say words."""

    def say(self, *words: object) -> Any:
        """A word, or none; gives what stands."""
        return self.run("dm-command", *words, "--json").ok().json

    def passes(self) -> dict[str, tuple[str, dict[str, int]]]:
        """One pass of each component: its state and what it moved."""
        found = {name: self.run(f"migrate-{name}", "--json").gave(0, 1).json for name in COMPONENTS}
        return {name: (record["state"], record["counts"]) for name, record in found.items()}

    def jobs(self) -> list[str]:
        """The jobs that were ever sent."""
        return sorted(row["job_id"] for row in self.ask("/sim/submissions"))

    def places(self) -> dict[str, list[str]]:
        """What lies in which directory, by name."""
        return {folder: self.names(folder) for folder in ("TODO", "DOING", "DONE/Okay", "DONE/Bad")}


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Words:
    """One server, nothing is under way."""
    made = Words(home, serve)
    made.only()
    made.start()
    return made


def begin(site: Words, faults: str) -> None:
    """Two lists at the server, one in TODO, a master list that is not cut."""
    site.faults(faults)
    site.master(site.files(*UNDER_WAY), "1.txt")
    site.produce(lfns=1)
    site.consume()
    site.master(site.files(*WAITS), "2.txt")
    site.produce(lfns=1)
    site.master(site.files(*UNCUT), "3.txt")
    assert site.tally() == {"DOING": 2, "TODO": 1}


def test_under_a_halt_nothing_moves_here_and_the_jobs_at_the_server_go_on(site: Words) -> None:
    begin(site, SLOW)
    site.say("halt", "migrate", "--reason", "disk server down")
    before, jobs = site.places(), site.jobs()
    assert site.passes() == dict.fromkeys(COMPONENTS, ("halted", {}))
    site.over()
    assert all(site.target(lfn).exists() for lfn in UNDER_WAY), "the server copied on"
    assert site.passes() == dict.fromkeys(COMPONENTS, ("halted", {}))
    assert (site.places(), site.jobs()) == (before, jobs)
    assert site.tally() == {"DOING": 2, "TODO": 1}
    site.say("run", "migrate")
    assert site.run("migrate-monitor", "--json").ok().json["counts"] == {"DOING>Okay": 2}
    site.produce()
    site.settle()
    assert site.lines("DONE/Okay") == sorted(UNDER_WAY + WAITS + UNCUT)
    assert len(site.copies()) == 5, "each was copied once"
    site.agrees()


def test_a_drain_ends_with_nothing_in_flight_and_nothing_new(site: Words) -> None:
    """One list is at the server, one was refused half-way (it goes back to TODO), one was booked and its answer got lost."""
    site.faults(SLOW + '[[fault]]\nmatch = "/echo/bad"\nop = "fail"\nreason = "SOURCE [5] Input/output error"\n')
    site.master(site.files("/slow/1", "/bad/1"), "1.txt")
    site.produce(lfns=1)
    site.consume()
    site.faults(SLOW + '[[fault]]\nmatch = "POST /jobs"\nop = "http500"\n')
    site.master(site.files("/lost/1"), "2.txt")
    site.produce(lfns=1)
    site.consume()
    assert site.sql("SELECT COUNT(*) FROM ftsjob WHERE state = 'intent'") == [(1,)]
    site.faults("")
    site.master(site.files(*WAITS), "3.txt")
    site.produce(lfns=1)
    site.master(site.files(*UNCUT), "4.txt")
    site.say("drain", "migrate")
    jobs = [job for (job,) in site.sql("SELECT job FROM ftsjob ORDER BY job")]
    for _ in range(6):
        found = site.passes()
        assert {state for state, _ in found.values()} == {"draining"}
        assert found["producer"][1] == {}
        site.over()
        if not site.names("DOING"):
            break
    assert site.names("DOING") == []
    assert site.jobs() == sorted(jobs), "the one that was booked was sent, and no other"
    assert site.sql("SELECT COUNT(*) FROM ftsjob WHERE state IN ('intent', 'submitted')") == [(0,)]
    assert site.lines("DONE/Okay") == ["/lost/1", "/slow/1"]
    assert site.lines("TODO") == ["/bad/1", *WAITS]
    site.due()
    before = site.places()
    site.passes()
    assert (site.places(), site.jobs()) == (before, sorted(jobs)), "it stays drained"
    site.say("run")
    site.produce()
    site.settle()
    assert site.lines("DONE/Okay") == sorted(["/slow/1", "/bad/1", "/lost/1", *WAITS, *UNCUT])
    site.agrees()


@pytest.mark.parametrize("kind", ["person", "calendar", "automatic"])
def test_every_kind_of_hold_does_to_the_passes_what_its_word_says(site: Words, kind: str) -> None:
    """Two stalled jobs, a list in TODO, a master list: for each word and scope nothing moves that the word forbids."""
    begin(site, STALL)
    before, settings = site.places(), (site.home / "dmtools.toml").read_text()
    for word, state in (("halt", "halted"), ("drain", "draining")):
        for scope in ("all", "migrate", *(f"migrate/{name}" for name in COMPONENTS)):
            hold(site, kind, word, scope)
            shown = site.say()["pipelines"]["migrate"]
            bound = [name for name in COMPONENTS if scope in ("all", "migrate", f"migrate/{name}")]
            assert {name: shown["components"][name] for name in bound} == dict.fromkeys(bound, word)
            assert shown["state"] == (word if len(bound) == 3 else "run")
            for name in bound:
                found = site.run(f"migrate-{name}", "--json").ok().json
                assert (found["state"], found["counts"]) == (state, {}), (word, scope, name)
            (site.home / "dmtools.toml").write_text(settings)
            site.say("run")
    assert site.places() == before
    assert len(site.jobs()) == 2


def hold(site: Words, kind: str, word: str, scope: str) -> None:
    if kind == "calendar":
        outage = f'[[control.calendar]]\nstart = "2001-01-01"\nend = "2999-01-01"\nscope = "{scope}"\nstate = "{word}"\n'
        site.settings(outage)
        return
    site.say(word, scope)
    if kind == "automatic":  # as the error limit books it; how it comes and goes is tested with its room
        with site.database() as db:
            db.execute("UPDATE hold SET kind = 'automatic', \"by\" = 'a test'")


# ---- a word in the middle of a pass -------------------------------------------------------------------------------------


@contextmanager
def stopped_at(site: Words, name: str, *args: object, moment: Callable[[], Any]) -> Iterator[subprocess.Popen[bytes]]:
    """A pass that stands still from that moment on; it goes on, to its end, behind the block."""
    argv = [*command(f"migrate-{name}", *args), "--json"]
    process = subprocess.Popen(argv, env=environment(site.home), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until(moment, 60, f"{name} is in the middle of its work")
        wait_until(lambda: stands_without_lock(site, process), 60, f"{name} stands still between two transactions")
        yield process
        process.send_signal(signal.SIGCONT)
        process.wait(60)
    finally:
        process.kill()


def stands_without_lock(site: Words, process: subprocess.Popen[bytes]) -> bool:
    """Stops it; one that holds the database's lock goes on, for nobody could say a word then."""
    process.send_signal(signal.SIGSTOP)
    db = sqlite3.connect(site.home / "dmtools.db", isolation_level=None, timeout=0.1)
    try:
        db.execute("BEGIN IMMEDIATE")
        db.execute("ROLLBACK")
    except sqlite3.OperationalError:
        process.send_signal(signal.SIGCONT)
        return False
    finally:
        db.close()
    return True


def told(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout
    assert process.returncode == 0
    return json.loads(process.stdout.read())


@pytest.mark.parametrize(("word", "state"), [("halt", "halted"), ("drain", "draining")])
def test_a_word_in_the_middle_of_a_consumer(site: Words, word: str, state: str) -> None:
    """It has 200 lists and takes 50 at a time, each while the batch before is on its way."""
    site.settings("[migrate]\nmax_open_jobs = 1000\n")
    lfns = site.files(*(f"/a/{n:03}" for n in range(200)))
    site.master(lfns)
    site.produce(lfns=1)
    site.faults('[[fault]]\nmatch = "POST /jobs"\nop = "slow"\nseconds = 0.2\n')

    def begun() -> bool:
        return bool(site.sql("SELECT 1 FROM ftsjob WHERE state = 'intent'"))

    with stopped_at(site, "consumer", "--lists", 0, moment=begun) as process:
        booked = site.tally()["DOING"]
        site.say(word, "migrate")
    found = told(process)
    taken = found["counts"]["TODO>DOING"]
    assert found["state"] == state
    assert booked <= taken <= booked + 50, "at most the batch that was under its hands"
    assert len(site.names("DOING")) == taken
    assert site.tally() == {"DOING": taken, "TODO": 200 - taken}
    sent = len(site.jobs())
    assert sent == taken if word == "drain" else sent < taken, "a drain sends what is booked, a halt only what was begun"
    site.faults("")
    assert site.run("migrate-consumer", "--lists", 0, "--json").ok().json["counts"] == {}
    site.say("run")
    site.settle()
    assert site.lines("DONE/Okay") == lfns
    assert len(site.jobs()) == 200
    site.agrees()


def test_a_halt_in_the_middle_of_a_monitor(site: Words) -> None:
    """130 jobs have ended; it asks for 100 at a time."""
    site.settings("[migrate]\nmax_open_jobs = 1000\n")
    lfns = site.files(*(f"/a/{n:03}" for n in range(130)))
    site.master(lfns)
    site.produce(lfns=1)
    site.consume()
    site.over()
    site.faults('[[fault]]\nmatch = "GET /jobs"\nop = "slow"\nseconds = 4\n')

    def asks() -> bool:
        return bool(site.sql("SELECT 1 FROM ftsjob WHERE polled IS NOT NULL"))

    with stopped_at(site, "monitor", moment=asks) as process:
        site.say("halt")
    found = told(process)
    assert (found["state"], found["counts"]) == ("halted", {"DOING>Okay": 100})
    assert (len(site.names("DOING")), site.tally()) == (30, {"DOING": 30, "Okay": 100})
    site.faults("")
    assert site.run("migrate-monitor", "--json").ok().json["state"] == "halted"
    site.say("run")
    assert site.run("migrate-monitor", "--json").ok().json["counts"] == {"DOING>Okay": 30}
    site.agrees()


@pytest.mark.parametrize(("word", "state"), [("halt", "halted"), ("drain", "draining")])
def test_a_word_in_the_middle_of_a_producer(site: Words, word: str, state: str) -> None:
    """It cuts 1000 lists at a time."""
    site.master([f"/a/{n}" for n in range(5000)])
    with stopped_at(site, "producer", "--lists", 0, "--lfns", 1, moment=lambda: site.names("TODO")) as process:
        booked = site.tally().get("TODO", 0)
        site.say(word, "migrate/producer")
    found = told(process)
    cut = found["counts"]["Listed>TODO"]
    assert found["state"] == state
    assert booked <= cut <= booked + 1000, "at most the batch that was under its hands"
    assert len(site.names("TODO")) == cut
    assert site.tally() == {"TODO": cut, "Listed": 5000 - cut}
    site.say("run")
    site.produce(lfns=100)
    assert sum(1 for _ in site.lines("TODO")) == 5000
    assert site.tally() == {"TODO": 5000}
