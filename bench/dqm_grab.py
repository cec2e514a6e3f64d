"""How long a grab takes: .venv/bin/python bench/dqm_grab.py [--browser firefox] [--grabs 30] [--jobs 20] [--samples FILE]

A simulated page with a run that goes on and 15 old ones, `--jobs` jobs each. Measured, each beside its aim:

- first: from the start of a browser until the live page is stored, then each of 15 old runs, as `dqm-robber --old-runs` does it;
  all 16 pages under 9 s. The original waits 30 s a page, whatever comes (SLEEP_TIME_LONG; 480 s): 50 times that.
- warm: a change is uploaded, and when the page shows it, one grab: script in the page, logs, graphs, PNGs; under 0.3 s.
- http: the same by the endpoint alone.

Samples are printed one by one. Exits 0 when the aims are met.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dmtools.dqm.robbing import live, oldruns, processes, rooms  # noqa: E402
from dmtools.dqm.robbing.grabbing import Source  # noqa: E402
from dmtools.settings import Dqm, load  # noqa: E402
from tests.simulators.dqm_page import files, job  # noqa: E402

OLD, RUN = 15, 380100
ALL_SECONDS, WARM_SECONDS, ORIGINAL = 9.0, 0.3, 30.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", choices=("chromium", "firefox"), default="chromium")
    parser.add_argument("--grabs", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--samples", type=Path)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="dqg-", dir="/tmp"))
    subprocess.run([sys.executable, str(ROOT / "bin/dm-config"), "init", str(place / "h"), "-q"], check=True)
    env = {**os.environ, "DMTOOLS_HOME": str(place / "h")}
    argv = [sys.executable, str(ROOT / "bin/dm-sim"), "dqm", "--still", "--port", "0"]
    sim = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE)
    processes.adopt_orphans()
    try:
        assert sim.stdout
        sim.stdout.readline()
        found = measured(place / "h", options)
    finally:
        processes.end_children()
        shutil.rmtree(place, ignore_errors=True)
    if options.samples:
        options.samples.write_text(json.dumps(found, indent=1) + "\n")
    return tell(options.browser, found)


def measured(home: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    page = json.loads((home / "run/sim/dqm.json").read_text())
    for run in range(RUN, RUN + OLD + 1):
        upload(page, run, options.jobs, 2000)
    settings = load(home=home)
    room = rooms.Room.take(home, "production")
    assert room
    room.furnish()
    log = os.open(os.devnull, os.O_WRONLY)
    found: dict[str, list[float]] = {}

    def source(**keys: Any) -> Source:
        import msgspec

        dqm = msgspec.structs.replace(settings.dqm, **{"browser": options.browser, **keys})
        return Source(settings.dqm.sites[0], msgspec.structs.replace(settings, dqm=dqm), room.path, log, lambda _: None)

    by_browser = source()
    pages = live.Live(by_browser, home, once=True)
    found["start and live page"] = [timed(pages.round)]
    runs = oldruns.OldRuns(by_browser, home)
    before = cpu_seconds()
    found["old run"] = [timed(runs.round) for _ in range(OLD)]
    found["CPU of an old run, page and grabber"] = [(cpu_seconds() - before) / OLD]
    assert runs.round().idle, "all old runs are there"
    pages = live.Live(by_browser, home, once=False)
    pages.round()
    found["warm"] = warm(page, by_browser, pages, options)
    by_http = live.Live(source(backend="http"), home, once=False)
    by_http.round()
    found["http"] = []
    for number in range(options.grabs):
        upload(page, RUN + OLD, 1, 9000 + number)
        found["http"].append(timed(by_http.round))
    return found


def warm(page: dict[str, str], source: Source, pages: live.Live, options: argparse.Namespace) -> list[float]:
    """Each time the page has something new when the clock starts: what is measured is the grab, not the page."""
    samples = []
    for number in range(options.grabs):
        upload(page, RUN + OLD, 1, 5000 + number)
        driver = source.page()._driver
        while f"{5000 + number} (12.5 evt/s)" not in driver.execute_script("return document.body.innerText"):
            time.sleep(0.01)
        samples.append(timed(pages.round))
    return samples


def cpu_seconds() -> float:
    """Of this process and all that live below it, the page's server among them: what a busy machine does not change."""
    ticks = 0
    for pid in (os.getpid(), *processes.descendants([os.getpid()])):
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def upload(page: dict[str, str], run: int, jobs: int, events: int) -> None:
    docs = [job(run, f"tag{number:02}", number, events_total=events + number, **ended(run)) for number in range(jobs)]
    answer = requests.post(
        f"{page['url']}/_upload/", json={"docs": [*docs, files(run)]}, headers={"X-Dm-Token": page["token"]}, timeout=30
    )
    answer.raise_for_status()


def ended(run: int) -> dict[str, int]:
    return {"exit_code": 0} if run < RUN + OLD else {}


def timed(round_of: Any) -> float:
    begun = time.monotonic()
    told = round_of()
    seconds = time.monotonic() - begun
    assert told.new, told
    assert not told.lacking, told
    return seconds


def tell(browser: str, found: dict[str, list[float]]) -> int:
    for name, seconds in found.items():
        print(f"{browser} {name}: {' '.join(f'{one:.3f}' for one in seconds)}")
        print(f"{browser} {name}: median {median(seconds):.3f} s, most {max(seconds):.3f} s")
    whole = sum(found["start and live page"]) + sum(found["old run"])
    times = ORIGINAL * (OLD + 1) / whole
    print(
        f"{browser}: {OLD + 1} pages in {whole:.2f} s (aim {ALL_SECONDS:g} s): {times:.0f} times as fast as {ORIGINAL:g} s a page"
    )
    print(f"{browser}: a warm grab in {median(found['warm']):.3f} s (aim {WARM_SECONDS:g} s)")
    return 0 if whole < ALL_SECONDS and median(found["warm"]) < WARM_SECONDS else 1


if __name__ == "__main__":
    assert Dqm().sites[0].name == "production"
    sys.exit(main())
