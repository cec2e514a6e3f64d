"""Ten days of missed crons, outages and bad answers, for many seeds.

    .venv/bin/python bench/datalogger_days.py [--seeds 1,2] [--hertz 0.1]

Each seed is a HOME of its own, with the commands and the simulator as the test of the ten days has them
(tests/datalogger/ten_days.py). A line a seed: passes, missed crons, and how long was had, empty, `*****` and lost; an untrue one
keeps its HOME. Exits 0 when all are true.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dmtools import clock  # noqa: E402
from tests.datalogger.steps import Plant  # noqa: E402
from tests.datalogger.ten_days import TenDays  # noqa: E402
from tests.support import Server, command, environment, port_base, run, wait_until  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1,2,3,4,5,6,7,8")
    parser.add_argument("--hertz", default="0.1")
    options = parser.parse_args()
    return max([one(int(seed), options.hertz) for seed in options.seeds.split(",")])


def one(seed: int, hertz: str) -> int:
    """0 when the tables tell the truth of these ten days."""
    place = Path(tempfile.mkdtemp(prefix="dmb-", dir="/tmp"))
    run("dm-config", "init", place / "home", "--port-base", port_base()).ok()
    days = TenDays(Plant(place / "home", starter(place)), seed, hertz)
    begun = time.monotonic()
    try:
        days.run()
        sums = days.prove()
    except (Exception, pytest.fail.Exception) as problem:  # noqa: BLE001 - the other seeds go on
        print(f"seed {seed}: {problem}; see {place}")
        return 1
    finally:
        if days.plant.server is not None:
            days.plant.server.stop()
    said = ", ".join(f"{kind} {clock.age(seconds)}" for kind, seconds in sums.items())
    took = time.monotonic() - begun
    print(f"seed {seed}: {days.passes} passes, {len(days.missed)} crons missed; {said}; true ({took:.0f} s)", flush=True)
    shutil.rmtree(place)
    return 0


def starter(place: Path) -> Any:
    """Starts a simulator and waits for it."""

    def start(home: Path, kind: str, *words: object) -> Server:
        log = place / "sim.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command("dm-sim", kind, *words, "--port", "0"), env=environment(home), stdout=out, stderr=out
            )
        server = Server(process, log)
        wait_until(lambda: "listening on" in server.said, what="the simulator")
        return server

    return start


if __name__ == "__main__":
    sys.exit(main())
