"""Run by hand, `pytest tests/transfers/machine.py`, until its hang is found: passes that die anywhere, a model that judges."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.transfers import fake_fts as odd
from tests.transfers.conftest import Scripted
from tests.transfers.fake_fts import ENDED, FakeFts, Job, fake_fts
from tests.transfers.in_process import run_pass

LFNS = [f"/a/{n}" for n in range(7)]
FOREIGN = "/a/5"  # something else stands at its destination from the start
GONE = "/a/6"  # has no source
REASONS = {
    "network": "TRANSFER [104] Connection reset by peer",
    "half": "TRANSFER [110] Connection timed out",
    "missing": "500 No such file or directory",
    "full": "DESTINATION [28] No space left on device",
    "canceled": "Job canceled by the user",
}
OUTCOMES = ["finish", "finish", "finish", *REASONS]
PICK = st.integers(0, 11)  # which one of those that there are
DIES = st.one_of(st.none(), st.none(), st.integers(1, 24))
TEMPLATE: list[Path] = []


@dataclass
class Model:
    """What should be known of one file."""

    state: str = "open"
    failures: int = 0
    tries: int = 0
    overwrite: bool = False
    requeued: bool = False


class Engine(RuleBasedStateMachine):
    """Rules are passes, the server's and a person's acts; the oracle is a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.place = Path(tempfile.mkdtemp(prefix="dmh-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
        self.fts: FakeFts = self.stack.enter_context(fake_fts())
        shutil.copytree(TEMPLATE[0], self.place / "home")
        self.site = Scripted(self.place / "home", None, fts=self.fts)  # type: ignore[arg-type]
        self.site.configure()
        self.model = {lfn: Model() for lfn in LFNS}
        self.seen: list[str] = []  # jobs whose files were counted as tried
        self.told: dict[str, dict[str, str]] = {}  # how the files of ended jobs ended, until a monitor has seen it

    @initialize()
    def begin(self) -> None:
        self.site.files(*(lfn for lfn in LFNS if lfn != GONE))
        odd.target(self.site.home, FOREIGN).parent.mkdir(parents=True)
        odd.target(self.site.home, FOREIGN).write_bytes(b"somebody else's")
        self.site.master(LFNS[:4], "1.txt")
        self.site.master(LFNS[3:], "2.txt")  # one is in both
        self.go("producer", None)

    # ---- passes

    def go(self, name: str, dies: int | None) -> bool:
        report = run_pass(self.site.home, name, dies)
        self.look_at_new_jobs()
        return report is not None

    @rule(dies=DIES)
    def producer(self, dies: int | None) -> None:
        self.go("producer", dies)

    @rule(dies=DIES)
    def consumer(self, dies: int | None) -> None:
        self.site.due()
        self.go("consumer", dies)

    @rule(dies=DIES)
    def monitor(self, dies: int | None) -> None:
        quiet = not self.fts.odd
        if self.go("monitor", dies) and quiet:
            self.settle()

    # ---- the server

    def jobs_under_way(self) -> list[Job]:
        return [job for job in self.fts.jobs.values() if any(file.state not in ENDED for file in job.files)]

    @rule(pick=PICK, hows=st.lists(st.sampled_from(OUTCOMES), min_size=len(LFNS), max_size=len(LFNS)))
    def a_job_ends(self, pick: int, hows: list[str]) -> None:
        jobs = self.jobs_under_way()
        if not jobs:
            return
        job = jobs[pick % len(jobs)]
        for file, how in zip(job.files, hows, strict=False):
            lfn = self.site.lfn(file.destination)
            path = self.site.target(lfn)
            if how == "finish":
                job.finish(file.destination)
                if file.state == "FAILED":
                    how = "exists" if path.read_bytes() != self.site.source(lfn).read_bytes() else "finish"  # noqa: PLW2901
            else:
                if how == "half" and not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(b"half of")
                job.fail(REASONS[how], file.destination, state="CANCELED" if how == "canceled" else "FAILED")
            self.told.setdefault(job.id, {})[lfn] = how

    @rule(act=st.booleans())
    def the_next_answer_is_lost(self, act: bool) -> None:
        self.fts.answers("POST /jobs", odd.nothing, 1, act=act)

    @rule(answer=st.sampled_from([odd.HTML, odd.BROKEN, odd.TRUNCATED, odd.nothing]))
    def the_next_poll_is_odd(self, answer: odd.Answer) -> None:
        self.fts.answers("GET /jobs/", answer, 1)

    @invariant()
    def used_up_answers_are_forgotten(self) -> None:
        self.fts.odd = [o for o in self.fts.odd if o.times]

    # ---- a person

    def at_rest(self) -> list[str]:
        done = {name for (name,) in self.site.sql("SELECT name FROM filelist WHERE state = 'done'")}
        return [name for name in self.site.names("DONE/Bad") if name in done and not self.has("TODO", name)]

    def has(self, folder: str, name: str) -> bool:
        return (self.site.home / "migrate" / folder / name).exists()

    @rule(pick=PICK)
    def bad_ones_are_put_into_todo(self, pick: int) -> None:
        names = self.at_rest()
        if not names:
            return
        name = names[pick % len(names)]
        path = self.site.home / "migrate/DONE/Bad" / name
        for lfn in LFNS:
            if f"/echo{lfn}\n" in path.read_text():
                self.model[lfn].requeued = True
        path.rename(self.site.home / "migrate/TODO" / name)

    @rule(pick=PICK, how=st.sampled_from(["gone", "moved", "both"]))
    def a_list_is_moved_by_hand(self, pick: int, how: str) -> None:
        known = {name for (name,) in self.site.sql("SELECT name FROM filelist WHERE state IN ('TODO', 'DOING')")}
        places = [(f, n) for f in ("TODO", "DOING") for n in self.site.names(f) if n in known]
        if not places:
            return
        folder, name = places[pick % len(places)]
        here = self.site.home / "migrate" / folder / name
        there = self.site.home / "migrate" / ("DOING" if folder == "TODO" else "TODO") / name
        if there.exists():
            return
        if how == "gone":
            here.unlink()
        elif how == "moved":
            here.rename(there)
        else:
            shutil.copy(here, there)

    # ---- what must hold

    def look_at_new_jobs(self) -> None:
        """Each new job is an attempt of each of its files."""
        for number, job in self.fts.jobs.items():
            if number in self.seen:
                continue
            self.seen.append(number)
            for file in job.files:
                lfn = self.site.lfn(file.destination)
                known = self.model[lfn]
                for earlier in self.seen[:-1]:  # a pass that died may have settled what the model has not counted yet
                    self.count(earlier, lfn)
                if known.requeued and known.state == "Bad":
                    known.state, known.failures, known.requeued = "open", 0, False
                assert known.state == "open", f"{lfn} is {known.state} and was sent again"
                assert not job.params["overwrite"] or known.overwrite, f"{lfn} must not be overwritten"
                known.tries += 1

    def settle(self) -> None:
        """A whole monitor has seen all that had ended."""
        for number in self.seen:
            for lfn in LFNS:
                self.count(number, lfn)
        for lfn, known in self.model.items():
            self.compare(lfn, known)

    def count(self, number: str, lfn: str) -> None:
        if any(file.state not in ENDED for file in self.fts.jobs[number].files):
            return
        how = self.told.get(number, {}).pop(lfn, None)
        known = self.model[lfn]
        if how is None or how == "full":
            return
        if how == "finish":
            known.state = "Okay"
        elif how == "exists" and known.tries == 1:
            known.state, known.tries = "Bad", 0
            known.failures += 1
        else:
            known.failures += 1
            known.overwrite = known.overwrite or how == "exists"
            if how == "missing" or known.failures >= 4:
                known.state = "Bad"

    def compare(self, lfn: str, known: Model) -> None:
        rows = self.site.sql("SELECT state, failures FROM transfer WHERE name = ? AND destination <> ''", lfn)
        if not rows:
            assert known.tries == 0
            return
        ((state, failures),) = rows
        if lfn == GONE:
            assert state in ("Missing", "TODO")
        elif known.state == "open":
            assert state in ("TODO", "DOING"), f"{lfn}: {state}, {known}"
            assert failures == known.failures, f"{lfn}: {known}"
        else:
            assert state == known.state, f"{lfn}: {known}"
            assert state == "Okay" or failures == known.failures, f"{lfn}: {known}"

    @invariant()
    def no_file_is_in_two_jobs_that_run(self) -> None:
        running = Counter(file.destination for job in self.jobs_under_way() for file in job.files)
        assert not running or max(running.values()) == 1, running

    @invariant()
    def okay_is_whole_and_foreign_is_foreign(self) -> None:
        for (lfn,) in self.site.sql("SELECT name FROM transfer WHERE state = 'Okay'"):
            assert self.site.target(lfn).read_bytes() == self.site.source(lfn).read_bytes()
        if not self.model[FOREIGN].overwrite:  # by the design's rule: an earlier attempt of ours may have left it
            assert odd.target(self.site.home, FOREIGN).read_bytes() == b"somebody else's"

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            self.stack.close()
            shutil.rmtree(self.place)

    def drain(self) -> None:
        """Plain passes at a server that does its work bring every file to its end."""
        self.fts.odd.clear()
        for _ in range(9):
            self.go("producer", None)
            self.site.due()
            self.go("consumer", None)
            for job in self.jobs_under_way():
                for file in job.files:
                    lfn = self.site.lfn(file.destination)
                    job.finish(file.destination)
                    different = self.site.target(lfn).read_bytes() != self.site.source(lfn).read_bytes()
                    self.told.setdefault(job.id, {})[lfn] = "exists" if file.state == "FAILED" and different else "finish"
            self.go("monitor", None)
            self.settle()
        self.okay_is_whole_and_foreign_is_foreign()
        states = dict(self.site.sql("SELECT name, state FROM transfer"))
        wanted = {
            lfn: "Missing" if lfn == GONE else "Okay" if known.state == "Okay" else "Bad" for lfn, known in self.model.items()
        }
        assert states == wanted
        for folder, state in (
            ("DONE/Okay", "Okay"),
            ("DONE/Bad", "Bad"),
            ("DONE/Missing", "Missing"),
            ("TODO", ""),
            ("DOING", ""),
        ):
            assert self.site.lines(folder) == sorted(lfn for lfn in LFNS if wanted[lfn] == state), folder
        assert self.site.tally() == dict(Counter(wanted.values()))
        assert set(self.fts.jobs) == {job for (job,) in self.site.sql("SELECT job FROM ftsjob")}


@pytest.mark.slow
def test_the_engine_does_what_the_model_says(template: Path) -> None:
    TEMPLATE[:] = [template]
    number = int(os.environ.get("DMTOOLS_TEST_SEED") or random.randrange(10**6))
    print(f"repeat with DMTOOLS_TEST_SEED={number}")
    examples = int(os.environ.get("DMTOOLS_TEST_EXAMPLES") or 10)
    bounded = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        phases=(Phase.generate,),  # a run is bounded: the seed repeats it, nothing is made smaller for minutes
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(Engine), settings=bounded)
