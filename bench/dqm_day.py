"""Does the mirror stay small: .venv/bin/python bench/dqm_day.py [--minutes N] [--browser firefox] [--samples FILE]

A page that changes as fast as it can be grabbed, the loops of robber, old runs and parser, the server with a reader, for some
minutes. What a day does once an hour is squeezed with it: 24 runs come and end, the browser is started anew 17 times (as by
browser_grabs = 5000 at one grab a second), quotas are so small that the cleaning is in its steady state after the first tenth.
The clock itself is the machine's: rotation by the hour is not in it. How many grabs were made, and how much of a day at the
highest default rate (86,400 grabs) that is, is told at the end.

Sampled: processes, memory (PSS: shared pages count once), open files of our three commands; files and bytes below HOME; what lies
in /tmp. Flat means: the median of the last third is at most 15 % over that of the middle third (and 20 files, 5 processes).
What is younger than a minute is never cleaned away, so files and bytes follow the grabs a minute, which a busy machine changes:
these two are judged by the grab.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path
from statistics import median

import requests
from dqm_parts import SITE, Mirror

DAY_GRABS = 86_400
COMMANDS = ("dqm-robber", "dqm-robber-oldruns", "dqm-parser", "dqm-server")
WIDTH = 10
COLUMNS = (  # title, key, unit
    ("s", "at", 1),
    ("grabs", "grabs", 1),
    ("pages", "pages", 1),
    ("processes", "processes", 1),
    ("MB", "memory", 1e6),
    ("own MB", "own", 1e6),
    ("handles", "handles", 1),
    ("files", "files", 1),
    ("kB", "bytes", 1e3),
    ("in /tmp", "temporary", 1),
)
PACED = ("files", "bytes")
SLACK = {"processes": 5, "files": 20, "handles": 5, "temporary": 3}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--browser", choices=("chromium", "firefox"), default="chromium")
    parser.add_argument("--samples", type=Path)
    options = parser.parse_args()
    seconds = options.minutes * 60
    squeezed = (
        f'dqm.browser = "{options.browser}"',
        "dqm.robber_seconds = 0.05",
        "dqm.parser_seconds = 0.05",
        f"dqm.browser_grabs = {max(20, int(seconds * 4 / 17))}",
        "dqm.old_runs = 3",
        "dqm.raw_bytes = 10000000",
        "dqm.public_bytes = 4000000",
        "dqm.driver_log_bytes = 200000",
        "dqm.old_run_seconds = 60",
    )
    with Mirror(*squeezed) as mirror:
        words = (
            "--jobs",
            "6",
            "--every",
            "0.1",
            "--lumi-seconds",
            "0.5",
            "--run-seconds",
            f"{seconds / 24:.1f}",
            "--seed",
            "1",
            "--port",
            "0",
        )
        mirror.start("dm-sim", "dqm", *words, listens=True)
        mirror.start("dqm-robber", "--loop")
        mirror.start_as("dqm-robber-oldruns", "dqm-robber", "--loop", "--old-runs")
        mirror.start("dqm-parser", "--loop")
        url = mirror.start("dqm-server", "--port", "0", listens=True)
        series = watched(mirror, url, seconds)
    if options.samples:
        options.samples.write_text(json.dumps(series, indent=1) + "\n")
    last = series[-1]
    print(f"{last['grabs']} grabs in {options.minutes:g} min: {last['grabs'] / DAY_GRABS:.1%} of a day of one grab a second")
    flat = [is_flat(series, what) for what in ("processes", "memory", "own", "handles", "files", "bytes", "temporary")]
    return 0 if all(flat) else 1


def watched(mirror: Mirror, url: str, seconds: float) -> list[dict[str, float]]:
    """The series; meanwhile a reader asks for the page ten times a second."""
    ended, answers = threading.Event(), {"good": 0, "bad": 0}

    def read() -> None:
        session = requests.Session()
        while not ended.wait(0.1):
            try:
                answer = session.get(f"{url}/sites/{SITE}", timeout=30)
                answers["good" if answer.ok and "</html>" in answer.text else "bad"] += 1
            except requests.RequestException:
                answers["bad"] += 1

    mirror.until(lambda: mirror.generations("public"), 120, "the first page is there")
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    begun, series = time.monotonic(), list[dict[str, float]]()
    print("".join(f"{title:>{WIDTH}}" for title, _, _ in COLUMNS))
    while time.monotonic() - begun < seconds:
        time.sleep(min(10.0, seconds / 30))
        dead = [name for name, process in mirror.running.items() if process.poll() is not None]
        if dead:
            raise RuntimeError(f"{dead[0]} has ended")
        one = {"at": time.monotonic() - begun, **sample(mirror)}
        series.append(one)
        print("".join(f"{one[key] / unit:{WIDTH}.0f}" for _, key, unit in COLUMNS), flush=True)
    ended.set()
    reader.join(30)
    print(f"the reader had {answers['good']} whole pages and {answers['bad']} others")
    return series


def sample(mirror: Mirror) -> dict[str, float]:
    own = [mirror.running[name].pid for name in COMMANDS]
    all_of_them = sorted({pid for root in own for pid in family(root)})
    below = [size(Path(place, name)) for place, _, names in os.walk(mirror.home) for name in names]
    return {
        "grabs": number(mirror, "raw"),
        "pages": number(mirror, "public"),
        "processes": len(all_of_them),
        "memory": sum(map(memory, all_of_them)),
        "own": sum(map(memory, own)),
        "handles": sum(len(listed(Path(f"/proc/{pid}/fd"))) for pid in own),
        "files": len(below),
        "bytes": sum(below),
        "temporary": sum(1 for name in os.listdir("/tmp") if name.startswith((".org.chromium", "rust_mozprofile", "Temp-"))),
    }


def number(mirror: Mirror, kind: str) -> int:
    """How many there were: the numbers of generations go on."""
    newest = mirror.generations(kind)
    return int(newest[0].name[1:]) if newest else 0


def family(pid: int) -> list[int]:
    """The process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(found for child in children for found in family(int(child)))]


def memory(pid: int) -> int:
    """PSS, bytes; none when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def listed(place: Path) -> list[str]:
    try:
        return os.listdir(place)
    except OSError:
        return []


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def is_flat(series: list[dict[str, float]], what: str) -> bool:
    third = len(series) // 3
    parts = series[third : 2 * third], series[2 * third :]
    middle, last = (median(one[what] for one in part) for part in parts)
    slower, faster = ((part[-1]["grabs"] - part[0]["grabs"]) / (part[-1]["at"] - part[0]["at"]) for part in parts)
    allowed = middle * 1.15 * (max(1.0, faster / slower) if what in PACED else 1) + SLACK.get(what, 0)
    print(f"{what:<10} middle third {middle:14,.0f}   last third {last:14,.0f}   {'flat' if last <= allowed else 'GROWS'}")
    return last <= allowed


if __name__ == "__main__":
    sys.exit(main())
