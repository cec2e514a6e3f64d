"""dqm-parser in a HOME, as tests need it: grabs put into the raw area, the command run, what is public read back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from dmtools import clock
from dmtools.dqm import generations, record
from dmtools.dqm.generations import Generation
from dmtools.dqm.record import Page, SiteSays
from tests.dqm import pages
from tests.dqm.pages import Source
from tests.support import Result, command, environment, run


class Mirror:
    """One HOME. `grab` puts a page, `parse` runs the command, the rest looks."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.raw, self.public = home / "dqm/raw", home / "dqm/public"

    def set(self, text: str) -> None:
        """More settings of [dqm]."""
        file = self.home / "dmtools.toml"
        file.write_text("".join(f"dqm.{line}\n" for line in text.splitlines()) + file.read_text())

    def grab(self, source: Source | None = None, site: str = "production", **rest: Any) -> Generation:
        return pages.grab(self.home, source or Source(at=clock.now()), site, **rest)

    def parse(self, *args: object, codes: tuple[int, ...] = (0,), **rest: Any) -> Result:
        return run("dqm-parser", *args, home=self.home, **rest).gave(*codes)

    def says(self, site: str = "production") -> SiteSays:
        found = record.read(self.public / site / "site.json", SiteSays)
        assert found is not None
        return found

    def live(self, site: str = "production") -> list[Generation]:
        """The newest first."""
        return list(generations.every(self.public / site / "live"))

    def page(self, site: str = "production", run: int | None = None) -> Page:
        place = self.public / site / ("live" if run is None else f"runs/{run}")
        found = generations.load_newest(place)
        assert found is not None
        return msgspec.json.decode(found[1]["page.json"], type=Page)

    def log(self) -> str:
        """All that it logged."""
        return "".join(file.read_text() for file in (self.home / "log").glob("dqm-parser*"))

    @contextmanager
    def loop(self) -> Iterator[subprocess.Popen[bytes]]:
        """dqm-parser --loop; it is killed at the end if it still lives."""
        process = subprocess.Popen(
            command("dqm-parser", "--loop"),
            env=environment(self.home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()
