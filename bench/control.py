"""dm-train-ok and dm-monitoring at 1,000,000 items and 5,000,000 journal entries: their CPU, and the plans of their queries.

    .venv/bin/python bench/control.py [--small] [--runs 15] [--home DIR] [--database URL] [--plans] [--prune] [--json FILE]

The other side, alternated with them in one run, is `python -c "import click, sqlalchemy, nagiosplugin"`: what any such
program pays before it begins. Prints each sample (user + system CPU seconds of the process), medians and their ratio, which must
be under 1.2; then every query that the two issue, with its plan. --database: an empty MariaDB's URL instead of
sqlite; its driver and dialect are then imported by the other side, too.
--home keeps the HOME, and takes it as it is the next time. --prune: how long `dm-db prune --older-than 90d` takes then.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dmtools import clock  # noqa: E402
from dmtools.ledger import open_ledger, schema  # noqa: E402
from dmtools.settings import load  # noqa: E402
from tests.control.million import Numbers, fill  # noqa: E402
from tests.control.queries import plans_on_mariadb, plans_on_sqlite, queries_of  # noqa: E402

BASE = "import click, sqlalchemy, nagiosplugin"
DRIVER = ", pymysql, sqlalchemy.dialects.mysql.pymysql"
COMMANDS = ("dm-train-ok", "dm-monitoring")
MOST = 1.2


def make(home: Path, numbers: Numbers, database: str) -> None:
    """A HOME with a full database; one that is there stays."""
    if (home / "dmtools.toml").exists():
        print(f"{home} is taken as it is")
        return
    subprocess.run([sys.executable, ROOT / "bin/dm-config", "init", home, "-q"], check=True)
    if database:
        with (home / "dmtools.toml").open("a") as file:
            file.write(f'[database]\nurl = "{database}"\n')
    begun = time.perf_counter()
    ledger = open_ledger(load(home=home), check=False)
    schema.upgrade(ledger)
    fill(ledger, "bench", numbers, clock.now())
    ledger.close()
    print(f"{numbers.items:,} files, {numbers.entries:,} journal entries in {time.perf_counter() - begun:.0f} s")


def environment(home: Path) -> dict[str, str]:
    """None of the person's own settings; compiled modules are kept, as in production."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DMTOOLS_") and k != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"DMTOOLS_HOME": str(home)}


def cpu(argv: list[str], home: Path) -> float:
    """User and system CPU seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.stderr:
        sys.exit(f"{argv[1]}: {done.stderr.decode()}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def alternate(home: Path, runs: int, base: str) -> dict[str, list[float]]:
    """The samples of each side, in turn, after one run of each that isn't counted."""
    sides = {"imports alone": [sys.executable, "-c", base]}
    sides |= {name: [sys.executable, str(ROOT / "bin" / name)] for name in COMMANDS}
    for argv in sides.values():
        cpu(argv, home)
    samples: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, argv in sides.items():
            samples[name].append(round(cpu(argv, home), 4))
    return samples


def show(samples: dict[str, list[float]]) -> bool:
    """Prints them; is every ratio under the limit?"""
    for name, found in samples.items():
        print(f"{name:14} {' '.join(f'{one:.3f}' for one in found)}")
    base = statistics.median(samples["imports alone"])
    ratios = {name: statistics.median(samples[name]) / base for name in COMMANDS}
    for name, ratio in ratios.items():
        least = min(samples[name]) / min(samples["imports alone"])
        good = "under" if ratio < MOST else "NOT UNDER"
        print(f"{name}: {ratio:.3f} times the CPU of the imports alone (of the least samples: {least:.3f}); {good} {MOST}")
    return all(ratio < MOST for ratio in ratios.values())


def show_plans(home: Path) -> None:
    """Every query of the two commands and what the database makes of it."""
    ledger = open_ledger(load(home=home))
    for name in COMMANDS:
        print(f"\n{name}")
        if ledger.sqlite:
            with sqlite3.connect(home / "dmtools.db") as raw:
                for text, steps in plans_on_sqlite(raw, queries_of(name, home)):
                    print(f"  {' '.join(text.split())}\n" + "\n".join(f"      {step}" for step in steps))
        else:
            with ledger.engine.connect() as connection:
                for text, table, kind, key in plans_on_mariadb(connection, queries_of(name, home)):
                    print(f"  {' '.join(text.split())}\n      {table}: {kind} {key}")
    ledger.close()


def main() -> int:
    """The whole measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="20,000 files and 100,000 entries")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--database", default="", metavar="URL")
    parser.add_argument("--plans", action="store_true", help="the plans alone")
    parser.add_argument("--prune", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="dm-bench-"))
    home = asked.home or place / "home"
    try:
        make(home, Numbers(20_000, 100_000) if asked.small else Numbers(), asked.database)
        samples = {} if asked.plans else alternate(home, asked.runs, BASE + (DRIVER if asked.database else ""))
        good = show(samples) if samples else True
        show_plans(home)
        if asked.prune:
            begun = time.perf_counter()
            subprocess.run([sys.executable, ROOT / "bin/dm-db", "prune"], env=environment(home), check=True)
            print(f"pruned in {time.perf_counter() - begun:.1f} s")
        if asked.json:
            asked.json.write_text(json.dumps(samples))
    finally:
        shutil.rmtree(place)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
