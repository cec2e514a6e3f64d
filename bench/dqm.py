"""How soon a change is seen outside: .venv/bin/python bench/dqm.py [--changes N] [--original N] [--browser firefox]

A simulated page (dm-sim dqm --still), dqm-robber --loop, dqm-parser --loop and dqm-server at default settings. A job's events
are uploaded to the source, a number never seen before: the canary. Then the served page is asked for it, 20 times a second, over
one connection. Where the time goes is told by when the raw and the public generation that have it were there.

Beside it, the ways of the original: the same browser holds the same page; its text is saved every 5 s, parsed every 5 s, and
the reader's page is loaded every 5 s (its default SLEEP_TIME and SERVER_RELOAD_TIME), written anew from its description.

Wanted: a median under 2 s. Raw samples go to --samples FILE.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import requests
from dqm_parts import HOSTS, SITE, Mirror, files, job

JOBS = 12
FIRST = 7_000_000  # events: a number that nothing else on the page has


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--original", type=int, default=5, metavar="N", help="changes seen in the ways of the original; 0: none")
    parser.add_argument("--browser", choices=("chromium", "firefox"), default="chromium")
    parser.add_argument("--samples", type=Path)
    options = parser.parse_args()
    with Mirror(f'dqm.browser = "{options.browser}"') as mirror:
        mirror.start("dm-sim", "dqm", "--still", "--port", "0", listens=True)
        upload_all(mirror)
        ours = measured(mirror, options.changes)
        theirs = in_the_ways_of_the_original(mirror, options.original) if options.original else []
    tell("dmtools", [one["seen"] for one in ours])
    for part in ("robber", "parser", "server"):
        tell(f"  of it {part}", [one[part] for one in ours])
    if theirs:
        tell("the original's ways", theirs)
        print(f"a change is seen {median(theirs) / median(one['seen'] for one in ours):.1f} times as soon")
    if options.samples:
        options.samples.write_text(json.dumps({"dmtools": ours, "original": theirs}, indent=1) + "\n")
    return 0 if median(one["seen"] for one in ours) < 2 else 1


def upload_all(mirror: Mirror) -> None:
    """A run with jobs and files."""
    mirror.upload(files(), *(job(number, 1000 + number, time.time()) for number in range(JOBS)))


def measured(mirror: Mirror, changes: int) -> list[dict[str, float]]:
    """Seconds from each upload until the canary was in the raw area, in the public one, and in the served page."""
    mirror.start("dqm-robber", "--loop")
    mirror.start("dqm-parser", "--loop")
    url = mirror.start("dqm-server", "--port", "0", listens=True)
    session = requests.Session()

    def served() -> str:
        return session.get(f"{url}/sites/{SITE}", timeout=30).text

    mirror.until(lambda: f"{1000 + JOBS - 1:,}" in served(), 120, "the page is served")
    found = []
    for number in range(changes):
        canary = FIRST + number
        time.sleep(random.uniform(1.0, 2.0))
        begun = time.time()
        mirror.upload(*(job(one, canary if one == number % JOBS else 1000 + one, begun) for one in range(JOBS)))
        mirror.until(lambda canary=canary: f"{canary:,}" in served(), 60, f"the change {number} is served", every=0.05)
        seen = time.time() - begun
        raw, public = (when(mirror, kind, f"{canary}") - begun for kind in ("raw", "public"))
        found.append({"seen": seen, "robber": raw, "parser": public - raw, "server": seen - public})
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def when(mirror: Mirror, kind: str, text: str) -> float:
    """When the first generation that has the text appeared, by its directory's own time of renaming."""
    holding = [path for path in mirror.generations(kind)[:6] if text in (path / "page.html").read_text()]
    return holding[-1].stat().st_ctime


def in_the_ways_of_the_original(mirror: Mirror, changes: int) -> list[float]:
    """Seconds until a reader has the change: three loops of 5 s each, that know nothing of each other."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"):
        options.add_argument(word)
    where = json.loads((mirror.home / "run/sim/dqm.json").read_text())
    raw, public = mirror.home / "original.raw", mirror.home / "original.public"
    seen: list[str] = [""]
    ended = threading.Event()
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    flags = f"#/lumi/?trackRun&hosts={HOSTS}&run=&showFiles&showJobs&showTimestampsGraph&showEventsGraph"
    browser.get(f"{where['url']}/static/index.html?token={where['token']}{flags}")
    loops = (
        lambda: raw.write_text(browser.page_source),
        lambda: public.write_text(raw.read_text() if raw.exists() else ""),
        lambda: seen.__setitem__(0, public.read_text() if public.exists() else ""),
    )
    threads = [threading.Thread(target=every_five, args=(loop, ended), daemon=True) for loop in loops]
    try:
        for thread in threads:
            time.sleep(random.uniform(0, 2))
            thread.start()
        found = []
        for number in range(changes):
            canary = FIRST + 100_000 + number
            time.sleep(random.uniform(0, 5))
            begun = time.time()
            mirror.upload(job(number % JOBS, canary, begun))
            mirror.until(lambda canary=canary: f"{canary}" in seen[0], 120, f"change {number} in the ways of the original")
            found.append(time.time() - begun)
        return found
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)
        browser.quit()


def every_five(work: Callable[[], object], ended: threading.Event) -> None:
    while not ended.wait(5):
        work()


def tell(what: str, seconds: list[float]) -> None:
    """One line: the median, the 90th of 100, the slowest."""
    tenth = quantiles(seconds, n=10, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
    print(f"{what:<22} N={len(seconds):<3} median {median(seconds):6.2f} s   p90 {tenth:6.2f} s   slowest {max(seconds):6.2f} s")


if __name__ == "__main__":
    sys.exit(main())
