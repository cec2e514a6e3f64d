"""What the tests of the datalogger share: a HOME at a fixed instant with its logger, and what any device must have read."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import h5py

from tests.support import Result, Server, run

HERTZ = "0.1"  # a day has 8640 samples
NOW = datetime(2026, 11, 5, 15, 0, tzinfo=UTC)  # 09:00 at the logger; its clocks went back on 1 November


def when(text: str) -> datetime:
    """`2026-11-01T06:00` UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def should(name: str, start: datetime, end: datetime, hertz: str = HERTZ) -> list[tuple[float, float]]:
    """The samples of [start, end), by the words of docs/datalogger.md alone."""
    rate, c = Fraction(hertz), zlib.crc32(name.encode())
    period = 600 + c % 4001
    found = []
    k = int(start.timestamp() * rate) - 1
    while (ms := int(1000 * k / rate)) < end.timestamp() * 1000:
        if ms >= start.timestamp() * 1000:
            noise = ((k % 2**32) * 2654435761 + 97 * c) % 2**32 >> 20
            value = ((c >> 8) % 2000 - 1000) * 100 + 37 * abs((k + c) % (2 * period) - period) - noise + 2048
            found.append((ms / 1000, value / 10000))
        k += 1
    return found


def rows(path: Path, name: str) -> list[tuple[float, float]]:
    """What a file has of a device."""
    with h5py.File(path) as file:
        return [(float(at), float(value)) for at, value in file[name][:].tolist()]


def devices(path: Path) -> list[str]:
    """The tables of a file."""
    with h5py.File(path) as file:
        return sorted(file)


@dataclass
class Plant:
    """One HOME and its simulated logger, both at an instant that stands still but for the seconds of the test."""

    home: Path
    sim: Callable[..., Server]
    at: datetime = NOW
    keys: dict[str, str] = field(default_factory=dict)
    server: Server | None = None
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))

    def set(self, **keys: object) -> None:
        """[datalogger] keys, as TOML."""
        self.keys |= {key: json.dumps(value) for key, value in keys.items()}
        file, first = self.home / "dmtools.toml", self.home / "dmtools.first"
        if not first.exists():
            first.write_text(file.read_text())
        file.write_text("".join(f"datalogger.{key} = {value}\n" for key, value in self.keys.items()) + first.read_text())

    def log(self, *names: str, hertz: str = HERTZ) -> None:
        """These devices are logged."""
        listed = ", ".join(f'{{name = "{name}", hertz = {hertz}}}' for name in names)
        self.keys["devices"] = f"[{listed}]"
        self.set(settle_minutes=0, chunk_minutes=720, tries=2)

    def start(self, *options: object, at: datetime | None = None) -> Server:
        """The logger."""
        self.server = self.sim(self.home, "datalogger", "--hertz", HERTZ, *options, env=self.clock(at or self.at))
        return self.server

    def clock(self, at: datetime) -> dict[str, str]:
        """An environment in which it is then, and so much later as the test has taken."""
        return {"DMTOOLS_CLOCK_OFFSET": str((at - self.begun).total_seconds())}

    def faults(self, *found: str) -> None:
        """The logger's faults: `op="few" match="B:X"`, a line each."""
        text = "".join("[[fault]]\n" + one.replace("; ", "\n") + "\n" for one in found)
        (self.home / "run/sim/datalogger.faults.toml").write_text(text)

    def params(self, *options: object, at: datetime | None = None, **more: Any) -> Result:
        """datalogger-params; `at`: when."""
        env = self.clock(at or self.at) | more.pop("env", {})
        return run("datalogger-params", *options, home=self.home, env=env, **more)

    def cron(self, at: datetime | None = None, **more: Any) -> Result:
        """As cron starts it."""
        return self.params("--days", 1, "--outdir", self.out, at=at, **more)

    @property
    def out(self) -> Path:
        """Where files go."""
        return self.home / "datalogger/out"

    def files(self) -> list[str]:
        """The names of the files that are out, hidden ones too."""
        return sorted(path.name for path in self.out.iterdir())

    def sql(self, query: str, *values: object) -> list[Any]:
        """A look into the tables."""
        with closing(sqlite3.connect(f"file:{self.home}/dmtools.db?mode=ro", uri=True)) as db:
            return db.execute(query, values).fetchall()

    def states(self) -> dict[str, str]:
        """`B:A 2026-11-04` -> its state, and the counts agree with them."""
        found = {
            f"{name} {start[:10]}": state for name, start, state in self.sql("SELECT name, start, state FROM datalogger_window")
        }
        counted = dict(
            self.sql("SELECT state, SUM(n) FROM tally WHERE pipeline = 'datalogger' GROUP BY state HAVING SUM(n) != 0")
        )
        assert counted == {state: list(found.values()).count(state) for state in set(found.values())}
        return found

    def asked(self) -> list[str]:
        """What the logger was asked, in order."""
        told = json.loads((self.home / "run/sim/datalogger.json").read_text())
        request = Request(told["url"] + "/sim/asked", headers={"Authorization": f"Bearer {told['token']}"})
        with urlopen(request, timeout=20) as answer:
            found: list[str] = json.load(answer)
        return found
