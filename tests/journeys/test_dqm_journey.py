"""A page inside, robber, parser and server as people run them, and a person before the page outside in a real Chromium."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dmtools.house.leftovers import marked
from tests.simulators.dqm_page import Dqm, job
from tests.support import TEST_MARK, Server, command, environment, run, wait_until
from tests.web.browser import Browser

pytestmark = [pytest.mark.needs("browser"), pytest.mark.slow]
RUN = 380001
LOOPS = {
    "robber": ("dqm-robber", "--loop"),
    "oldruns": ("dqm-robber", "--old-runs", "--loop"),
    "parser": ("dqm-parser", "--loop"),
}


class Machine:
    """The loops of one HOME, as cron starts them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.loops: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        with (self.home / f"{name}.out").open("ab") as out:
            argv = command(*LOOPS[name])
            self.loops[name] = subprocess.Popen(
                argv, env=environment(self.home), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def said(self, name: str) -> str:
        return (self.home / f"{name}.out").read_text()

    def end(self) -> None:
        for loop in self.loops.values():
            if loop.poll() is None:
                loop.terminate()
        for loop in self.loops.values():
            with suppress(subprocess.TimeoutExpired):
                loop.wait(30)


@pytest.fixture
def machine(home: Path) -> Iterator[Machine]:
    words = ("sites.playback=", "stale_seconds=15", "old_runs=2", "back_off_seconds=2")
    run("dqm-cfg", *[word for text in words for word in ("--set", text)], home=home).ok()
    found = Machine(home)
    yield found
    found.end()


@pytest.fixture
def inside(home: Path) -> Iterator[Dqm]:
    found = Dqm(home).start("--still")
    yield found
    if found.process and found.process.poll() is None:
        found.stop()


def tell(inside: Dqm, number: int = RUN, **codes: int) -> None:
    """News of three jobs of a run; `codes`: exit codes by tag."""
    at = time.time()
    more = {tag: {"exit_code": code} for tag, code in codes.items()}
    inside.upload(*[job(number, tag, timestamp=at, **more.get(tag, {})) for tag in ("beam", "ecal", "hcal")])


def browsers() -> set[int]:
    """The processes of the robber's browsers, not of the person's."""
    return {pid for pid, line in marked(TEST_MARK, os.environ[TEST_MARK]).items() if "/run/dqm/" in line}


@dataclass
class Story:
    """Who takes part: the machine, the page inside, the person outside."""

    machine: Machine
    inside: Dqm
    person: Browser

    @property
    def home(self) -> Path:
        return self.machine.home

    def sees(self, text: str, number: int = RUN, **codes: int) -> None:
        """The person sees this in the jobs, on a page that is Fresh, while the source goes on to tell news. No click."""

        def look() -> bool:
            tell(self.inside, number, **codes)
            return text in self.person.text("table.jobs") and self.state() == "Fresh"

        self.person.until(look, f"{text}, and Fresh; {self.machine.said('robber')} {self.machine.said('parser')}")

    def state(self) -> str:
        return str(self.person.wait("#state").get_attribute("data-state"))

    def counts(self) -> Any:
        return run("dm-monitoring", "dqm", "--json", home=self.home).ok().json["pipelines"]["dqm"]["counts"]

    def next_run(self) -> None:
        """All jobs of the run end; the next one begins, and the one before is an old run."""
        tell(self.inside, beam=0, ecal=139, hcal=0)
        kept = self.home / f"dqm/public/production/runs/{RUN}"

        def look() -> bool:
            tell(self.inside, RUN + 1)
            return self.person.text("#state .run") == str(RUN + 1) and any(kept.glob("g*/page.json"))

        self.person.until(look, f"the old run is kept; {self.machine.said('oldruns')}")
        assert run("dm-trace", str(RUN), "--json", home=self.home).ok().json["jobs"] == {"stopped": 2, "crashed": 1}

    def kill_all(self) -> None:
        """By kill -9 at once: no browser stays; cron starts them again."""
        before = browsers()
        assert before
        for loop in self.machine.loops.values():
            loop.send_signal(signal.SIGKILL)
            loop.wait(30)
        wait_until(lambda: not before & browsers(), 60, "no browser of a dead robber is left")
        for name in LOOPS:
            self.machine.start(name)

    def source_dies(self) -> None:
        """The page stays and says so: to people, to nagios, to who asks."""
        assert self.inside.process
        self.inside.process.kill()
        self.inside.process.wait()
        assert "These data are" in self.person.text("#banner")
        assert "crashed 134" in self.person.text("table.jobs")
        told = run("dm-train-ok", "--component", "dqm", home=self.home).gave(1, 2).out
        assert "production is Stale" in told or "production is Down" in told
        assert self.counts()["Fresh"] == 0

    def word_ends_the_loops(self) -> None:
        run("dm-command", "halt", "dqm", home=self.home).ok()
        for name, loop in self.machine.loops.items():
            assert loop.wait(60) == 0, self.machine.said(name)
        assert browsers() == set()
        assert [path.name for path in (self.home / "run/dqm").iterdir() if path.is_dir()] == []
        assert "Traceback" not in "".join(map(self.machine.said, LOOPS))


def test_a_change_is_seen_outside_kills_leave_nothing_and_a_dead_source_is_told(
    home: Path, machine: Machine, inside: Dqm, serve: Callable[..., Server]
) -> None:
    tell(inside)
    for name in LOOPS:
        machine.start(name)
    server, port = serve("dqm-server", "--port", 0, home=home), inside.url.rpartition(":")[2]
    with Browser(1280, 900) as person:
        person.go(server.url)
        story = Story(machine, inside, person)
        story.sees("running")
        story.sees("crashed 139", ecal=139)
        assert story.counts() == {"Fresh": 1, "Stale": 0, "Down": 0, "Broken": 0}
        story.next_run()
        story.kill_all()
        story.sees("crashed 134", RUN + 1, hcal=134)
        story.source_dies()
        inside.start("--still", "--port", port)
        story.sees("crashed 134", RUN + 1, hcal=134)
        assert not person.driver.find_elements("css selector", "#banner")
        assert person.complaints() == []
    story.word_ends_the_loops()
    run("dm-check", "--storage", "all", home=home).ok()
