"""The plot site of years of devices: how long a pass takes, full, unchanged and with a new day; how soon Chromium shows it.

.venv/bin/python bench/datalogger_site.py [--devices 55] [--years 5] [--samples 7]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.datalogger.history import History  # noqa: E402
from tests.web.browser import Browser  # noqa: E402

LAST = date(2026, 11, 25)


def said(name: str, samples: list[float]) -> None:
    shown = ", ".join(f"{one:.2f}" for one in samples)
    print(f"{name}: {statistics.median(samples):.2f} s  [{shown}]", flush=True)


def made(home: Path, *words: str) -> float:
    begun = time.monotonic()
    argv = [sys.executable, str(ROOT / "bin/datalogger-json"), "--home", str(home), *words]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def first_panels(one: Browser, url: str) -> float:
    """Seconds from navigation until all panels on the screen are drawn."""
    script = "return (performance.getEntriesByName('first-panels')[0] || {}).startTime"
    one.go("about:blank")
    one.go(url)
    return float(one.until(lambda: one.driver.execute_script(script), "the first panels")) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=55)
    parser.add_argument("--years", type=int, default=5)
    parser.add_argument("--samples", type=int, default=7)
    given = parser.parse_args()
    names = tuple(f"B:DEV{number:02d}" for number in range(given.devices))
    lost = {
        (name, LAST - timedelta(days=40 * n + k)): ("lost", "the logger was down")
        for name in names[::5]
        for n in (1, 9)
        for k in range(3)
    }
    with tempfile.TemporaryDirectory(prefix="dm-bench-") as place:
        home = Path(place) / "home"
        subprocess.run([sys.executable, str(ROOT / "bin/dm-config"), "init", str(home)], check=True, stdout=subprocess.DEVNULL)
        History(home, names, LAST, 365 * given.years + 1, lost).write()
        few = range(max(1, given.samples // 2))
        said("full pass", [made(home, "--again") for _ in few])
        said("unchanged pass", [made(home) for _ in range(given.samples)])
        History(home, names[:1], LAST + timedelta(days=1), 1).write()
        said("a new day of one device", [made(home)])
        History(home, names[1:], LAST + timedelta(days=1), 1).write()
        said("a new day of all others", [made(home)])
        site = home / "datalogger/site"
        size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
        figures = json.loads((site / "index.json").read_text())["figures"]
        points = max(one["points"] for one in figures.values())
        print(f"{len(figures)} figures of {points} points, {size / 1e6:.1f} MB with old files")
        for what in ("a new browser each time", "the same browser"):
            times = []
            if what.startswith("the"):
                with Browser(1280, 1000) as one:
                    times = [first_panels(one, f"file://{site}/index.html") for _ in range(given.samples)]
            else:
                for _ in few:
                    with Browser(1280, 1000) as one:
                        times.append(first_panels(one, f"file://{site}/index.html"))
            said(f"until the first panels are drawn, {what}", times)
        with Browser(1280, 1000) as one:
            times = [first_panels(one, f"file://{site}/index.html?{n}#range=all") for n in range(given.samples)]
            said("the same with all five years shown", times)


if __name__ == "__main__":
    main()
