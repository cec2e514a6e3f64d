"""What the tests of migrate share: a HOME with files and servers, its passes, a look into directories and tables."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.support import Result, Server, run, wait_until

TERMINAL = ("FINISHED", "FAILED", "FINISHEDDIRTY", "CANCELED")
FOLDERS = ("TODO", "DOING", "DONE/Okay", "DONE/Bad", "DONE/Missing")


@dataclass
class Site:
    """One HOME on the embedded defaults."""

    home: Path
    serve: Callable[..., Server]
    servers: dict[str, Server] = field(default_factory=dict)

    # ---- files and master lists

    def files(self, *lfns: str, data: bytes | None = None) -> list[str]:
        """Makes these source files; gives the LFNs."""
        for lfn in lfns:
            path = self.source(lfn)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(300) if data is None else data)
        return list(lfns)

    def source(self, lfn: str) -> Path:
        """Where an LFN comes from."""
        return self.home / "demo/castor" / lfn.lstrip("/")

    def target(self, lfn: str) -> Path:
        """Where it goes."""
        return self.home / "demo/echo" / lfn.lstrip("/")

    def master(self, lfns: list[str], name: str = "all.txt") -> Path:
        """A master list."""
        path = self.home / "migrate/TODO/ListOfLFNs" / name
        path.write_text("".join(f"{lfn}\n" for lfn in lfns))
        return path

    # ---- servers

    def start(self, *options: object, names: tuple[str, ...] = ("fts1",)) -> None:
        """Starts simulators (again), each in a process of its own."""
        for name in names:
            self.servers[name] = self.serve("dm-sim", "fts", "--name", name, "--port", 0, *options, home=self.home)

    def only(self, name: str = "fts1") -> None:
        """Settings in which one server takes all."""
        self.settings(f'[fts]\nservers = [{{ name = "{name}", url = "sim:{name}", weight = 1 }}]\n')

    def settings(self, text: str) -> None:
        """More settings; each section once."""
        path = self.home / "dmtools.toml"
        path.write_text(path.read_text() + "\n" + text)

    def faults(self, text: str, name: str = "fts1") -> None:
        """The faults file of a server, whole at once."""
        new = self.home / f"run/sim/.{name}.new"
        new.write_text(text)
        new.rename(self.home / f"run/sim/{name}.faults.toml")

    def ask(self, path: str, name: str = "fts1", method: str = "GET") -> Any:
        """A request to a simulator, with its token."""
        told = json.loads((self.home / f"run/sim/{name}.json").read_text())
        request = Request(told["url"] + path, headers={"Authorization": f"Bearer {told['token']}"}, method=method)
        with urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def copies(self, *names: str) -> list[str]:
        """The destination of each copy that was begun and finished, of these servers (all)."""
        rows = [row for name in names or self.servers for row in self.ask("/sim/copies", name)]
        return [row["destination"] for row in rows if row["outcome"] == "FINISHED"]

    def over(self) -> None:
        """Waits until no job that the tables have open is under way at its server."""

        def all_over() -> bool:
            jobs = self.sql("SELECT server, job FROM ftsjob WHERE state = 'submitted'")
            return all(self.ask(f"/jobs/{job}", server)["job_state"] in TERMINAL for server, job in jobs)

        wait_until(all_over, 60, "the jobs are over")

    # ---- passes

    def run(self, name: str, *args: object, **how: Any) -> Result:
        """One command; it may refuse, but never by an error of its own."""
        found = run(name, *args, home=self.home, **how)
        assert "internal error" not in found.err, str(found)
        return found

    def agrees(self) -> None:
        """Directories, tables and storage agree."""
        found = self.run("dm-check", "--storage", "all", "--json").ok().json
        assert [one for one in found["findings"] if not one["note"]] == []

    def produce(self, lfns: int = 5) -> None:
        """All master lists into lists."""
        self.run("migrate-producer", "--lists", 0, "--lfns", lfns).gave(0, 1)

    def put(self, folder: str, name: str, *lfns: str) -> Path:
        """A list file, written by hand."""
        text = "".join(f"file://{self.source(lfn)}  file://{self.target(lfn)}\n" for lfn in lfns)
        path = self.home / "migrate" / folder / name
        path.write_text(text)
        return path

    def move(self, source: str, target: str, name: str) -> None:
        """A list moved by hand."""
        (self.home / "migrate" / source / name).rename(self.home / "migrate" / target / name)

    def consume(self) -> Result:
        """All lists to the servers."""
        return self.run("migrate-consumer", "--lists", 0).gave(0, 1)

    def monitor(self) -> Result:
        """One look at all that is open."""
        return self.run("migrate-monitor").gave(0, 1)

    def settle(self, rounds: int = 8) -> None:
        """Plain passes until nothing is open; waiting times are taken away."""
        for _ in range(rounds):
            self.consume()
            self.over()
            self.monitor()
            if not self.names("TODO") and not self.names("DOING"):
                return
            self.due()

    def due(self) -> None:
        """What waits may go now."""
        with self.database() as db:
            db.execute("UPDATE filelist SET next_try = NULL")

    # ---- looks

    def names(self, folder: str) -> list[str]:
        """The lists in a folder."""
        place = self.home / "migrate" / folder
        return sorted(p.name for p in place.iterdir() if not p.name.startswith(".") and p.name != "ListOfLFNs")

    def lines(self, folder: str) -> list[str]:
        """The LFNs of the lines of all lists in a folder, by their destination."""
        found = []
        for name in self.names(folder):
            text = (self.home / "migrate" / folder / name).read_text()
            found += [self.lfn(line.split("  ")[1]) for line in text.splitlines() if not line.startswith("#")]
        return sorted(found)

    def lfn(self, url: str) -> str:
        """The LFN of a destination."""
        return url.removeprefix(f"file://{self.home}/demo/echo")

    def database(self) -> sqlite3.Connection:
        """The tables, as one's own hand would use them."""
        return sqlite3.connect(self.home / "dmtools.db", isolation_level=None)

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        db = self.database()
        try:
            return db.execute(query, values).fetchall()
        finally:
            db.close()

    def states(self) -> dict[str, int]:
        """How many files are in each state."""
        return {state: n for state, n in self.sql("SELECT state, COUNT(*) FROM transfer GROUP BY state") if n}

    def tally(self) -> dict[str, int]:
        """The counts that people are shown."""
        rows = self.sql("SELECT state, SUM(n) FROM tally WHERE pipeline = 'migrate' GROUP BY state")
        return {state: n for state, n in rows if n}

    def state(self, lfn: str) -> tuple[Any, ...]:
        """(state, class, failures, tries) of a file."""
        found = self.sql("SELECT state, error_class, failures, tries FROM transfer WHERE name = ?", lfn)
        assert len(found) == 1, (lfn, found)
        return found[0]
