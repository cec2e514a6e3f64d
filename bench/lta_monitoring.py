#!/usr/bin/env python3
"""How long dm-monitoring and dm-train-ok look at lta when it has a million bundles: no query may grow with history.

    .venv/bin/python bench/lta_monitoring.py [--bundles 1000000] [--times 9]

Fills a new sqlite HOME, most of it at its end and some under way, and measures what the two commands ask of it, without their
start-up. One JSON object: milliseconds of CPU, each the median with the least and the most.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dmtools import clock, names  # noqa: E402
from dmtools.control import figures, holds  # noqa: E402
from dmtools.control.entry import Probing  # noqa: E402
from dmtools.ledger import journal, open_ledger, tables  # noqa: E402
from dmtools.ledger.engine import Ledger  # noqa: E402
from dmtools.lta import probes  # noqa: E402
from dmtools.lta.register import PIPELINE  # noqa: E402
from dmtools.settings import load  # noqa: E402

# Most are at their end; what is under way is bounded by max_pushes and the quota of the remote buffer.
SHARES = {"LocalFilesDeleted": 0.9, "NERSCClean": 0.05, "Untouched": 0.049}
UNDER_WAY = {"PushDone": 300, "NERSCRunning": 14, "JsonMade": 3, "Quarantined": 5}
PART = 20_000


def fill(ledger: Ledger, count: int) -> None:
    """Rows and the counts that go with them."""
    at, number = clock.now(), 0
    for state, wanted in ({state: round(count * share) for state, share in SHARES.items()} | UNDER_WAY).items():
        ledger.transact(lambda c, s=state, n=wanted: journal.count_new(c, "lta", s, n, n * 1000, at))  # type: ignore[misc]
        left = wanted
        while left:
            rows = []
            for _ in range(min(PART, left)):
                number += 1
                ideal = f"/exp/{number // 1000}/{number}.zip"
                key = names.key(f"nersc {ideal}")
                row = {
                    "destination": "nersc",
                    "ideal": ideal,
                    "ideal_key": names.key(ideal),
                    "home": "h",
                    "name": f"file:///o{ideal}",
                }
                row |= {
                    "live_key": None if state == "Abort" else key,
                    "size": 1000,
                    "sha512": key.hex() * 2,
                    "adler32": "00000001",
                }
                rows.append(
                    {**row, "files": 10, "state": state, "since": at, "ready": at, "fence": 0, "failures": 0, "reserved": 0}
                )
            ledger.transact(lambda c, r=rows: c.execute(tables.lta_bundle.insert(), r))  # type: ignore[misc]
            left -= len(rows)


def measured(times: int, work: Callable[[], Any]) -> dict[str, float]:
    """Milliseconds of CPU."""
    found = []
    for _ in range(times):
        begun = time.process_time()
        work()
        found.append((time.process_time() - begun) * 1000)
    return {"median": round(statistics.median(found), 1), "least": round(min(found), 1), "most": round(max(found), 1)}


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundles", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "home"
        subprocess.run([ROOT / ".venv/bin/dm-config", "init", "-q", str(home)], check=True)
        settings = load(home=home)
        ledger = open_ledger(settings)
        fill(ledger, options.bundles)
        with ledger.read() as connection:
            at = clock.now()
            look = Probing(settings, connection, at, PIPELINE)
            found = holds.open_holds(connection, settings, at)
            told = {
                "counts": measured(options.times, lambda: figures.counts(connection, PIPELINE)),
                "monitoring": measured(options.times, lambda: figures.of(connection, PIPELINE, found, at, settings)),
                "train_ok": measured(options.times, lambda: list(probes.figures(look))),
            }
        ledger.close()
    print(json.dumps({"bundles": options.bundles, "times": options.times, "milliseconds": told}))


if __name__ == "__main__":
    main()
