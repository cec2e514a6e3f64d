"""A HOME whose only FTS server is one that does what a test says; its commands run in forks of a warm process."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults.warm import Warm
from tests.migrate.steps import Site
from tests.support import ROOT, Result, Server, environment, port_base, run
from tests.transfers.fake_fts import FakeFts, Job, fake_fts


@dataclass
class Scripted(Site):
    """A Site at a FakeFts."""

    fts: FakeFts = field(default_factory=FakeFts)
    warm: Warm | None = None

    def run(self, name: str, *args: object, env: dict[str, str] | None = None, **how: Any) -> Result:
        """One command, in a process of its own that need not load its libraries."""
        assert self.warm is not None
        begun = time.monotonic()
        done = self.warm.run(name, *map(str, args), env=environment(self.home, env))
        return Result((name, *map(str, args)), done.code, done.out, done.err, time.monotonic() - begun)

    def configure(self, text: str = "", seconds: int = 3) -> None:
        """Its settings, whole: this server, short times; `text` is what a test adds."""
        token = self.home / "secrets/token"
        token.write_text("t0ken")
        token.chmod(0o600)
        server = f'servers = [{{ name = "fake", url = "{self.fts.url}", weight = 1 }}]'
        timed = f"connect_seconds = {seconds}\ncall_seconds = {seconds}\n"
        head = f'[credentials]\ntoken_file = "secrets/token"\n[fts]\n{server}\n{timed}'
        text = text if "[migrate]" in text else f"[migrate]\nretry_seconds = 1\n{text}"
        (self.home / "dmtools.toml").write_text(head + text)

    def begin(self, *lfns: str, data: bytes | None = None) -> Job:
        """These files are in one job now."""
        self.master(self.files(*lfns, data=data), f"m{len(self.fts.jobs)}.txt")
        self.produce(lfns=100)
        self.consume()
        return self.fts.job()

    def again(self) -> Job:
        """The next attempt, whatever its waiting time."""
        (job,) = self.go_on()
        return job

    def go_on(self) -> list[Job]:
        """The new jobs of a consumer for which nothing waits any more."""
        before = list(self.fts.jobs)
        self.due()
        self.consume()
        return [job for number, job in self.fts.jobs.items() if number not in before]

    def later(self, name: str, *args: object, seconds: float) -> Result:
        """A command when so many seconds have gone by."""
        return self.run(name, *args, env={"DMTOOLS_CLOCK_OFFSET": str(seconds)})

    def snapshot(self) -> dict[str, Any]:
        """All that a pass that learns nothing must leave as it is."""
        tables = {
            "transfer": self.sql("SELECT * FROM transfer"),
            "filelist": self.sql("SELECT * FROM filelist"),
            "ftsjob": self.sql("SELECT id, list_id, attempt, server, sid, job, state, closed, submitted FROM ftsjob"),
        }
        root = self.home / "migrate"
        return tables | {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    """A fresh HOME to copy: making one costs as much as a command."""
    place = Path(tempfile.mkdtemp(prefix="dmt-", dir="/tmp"))
    run("dm-config", "init", place / "home", "--port-base", port_base()).ok()
    yield place / "home"
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def warm(template: Path) -> Iterator[Warm]:
    """The process whose forks the commands are."""
    made = Warm(ROOT, template.parent)
    yield made
    made.close()


@pytest.fixture
def scripted(template: Path, warm: Warm, short_tmp: Path, serve: Callable[..., Server]) -> Iterator[Scripted]:
    """A HOME of its own at a FakeFts of its own."""
    home = short_tmp / "home"
    shutil.copytree(template, home)
    with fake_fts() as fts:
        site = Scripted(home, serve, fts=fts, warm=warm)
        site.configure()
        yield site
