"""What a pass of daq-archive costs: by open jobs, and by finished files that lie in the tables.

    .venv/bin/python bench/daq_archive.py [--open 1000,10000] [--finished 1000,1000000] [--runs 5] [--json FILE]

Rows are made by SQL. The zip jobs are in a Slurm whose squeue says of every key that it runs; zips on their way to tape have
copies that have not ended. Each sample is user + system CPU seconds of the pass and its children; the sizes take turns. Printed
are all samples, medians, and the cost of an open job above a pass with none. Exits 1 when an open job costs more among many
than among few, or a pass more over many finished files than over few (by more than the samples scatter: 1.2).
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
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dmtools import names  # noqa: E402

MOST = 1.2
SINCE = "2025-01-01 00:00:00.000000"
SQUEUE = """\
#!/bin/sh
for word; do
    case "$word" in --name=*) echo "${word#--name=}" | tr , '\\n' | awk '{ print NR "|" $0 "|RUNNING|0|None|" }';; esac
done
"""


def run(home: Path, *argv: str) -> float:
    """CPU seconds of a command and its children."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("DMTOOLS_")}
    env |= {"PATH": f"{home}/bin:{os.environ['PATH']}", "DMTOOLS_HOME": str(home)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, ROOT / "bin" / argv[0], *argv[1:]], env=env, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def make(place: Path, zipping: int, to_tape: int, finished: int) -> Path:
    """A HOME with so many zips of one file each in these states."""
    home = place / f"home-{zipping}-{to_tape}-{finished}"
    run(home, "dm-config", "init", str(home), "-q")
    (home / "bin").mkdir()
    (home / "bin/squeue").write_text(SQUEUE)
    (home / "bin/squeue").chmod(0o755)
    with (home / "dmtools.toml").open("a") as file:
        file.write('[daq]\nbatch = "slurm"\nmax_jobs = 1000000\n')
    run(home, "daq-archive", "-q")
    (home / "run").mkdir(exist_ok=True)
    (home / "run/home-id").write_text("bench\n")
    (home / "run/batch/slurm").mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(home / "dmtools.db")) as db, db:
        db.execute("PRAGMA synchronous=OFF")
        first = 1
        for state, of_file, n in (("Cleaned", "Freed", finished), ("Zipping", "Zipping", zipping), ("ToTape", "ToTape", to_tape)):
            numbers = range(first, first + n)
            _zips(db, home, state, numbers)
            _files(db, of_file, numbers)
            if state != "Zipping":
                _copies(db, home, "Okay" if state == "Cleaned" else "DOING", numbers)
            first += n
        db.execute("ANALYZE")
    for number in range(finished + 1, finished + zipping + 1):
        (home / f"daq/jobs/dm-{number:020}").mkdir(parents=True)
    return home


def _lfn(number: int) -> str:
    return f"/2501/250131/MIG_{number // 1000}/run_{number}_20250131.dat"


def _zips(db: sqlite3.Connection, home: Path, state: str, numbers: range) -> None:
    columns = (
        "id, name, name_key, state, since, files, bytes, attempt, failures, room, job_key, submitted, place, proved, zip_size"
    )

    def row(n: int) -> tuple[object, ...]:
        key, name = f"dm-{n:020}", f"{_lfn(n)}.zip"
        place = f"file://{home}/demo/site/zips{_lfn(n)}.{key}.zip"
        proved = SINCE if state == "Cleaned" else None
        return (n, name, names.key(name), state, SINCE, 1, 300, 1, 0, "slurm/bench", key, SINCE, place, proved, 300)

    db.executemany(f"INSERT INTO daq_zip ({columns}) VALUES ({', '.join('?' * 15)})", map(row, numbers))


def _files(db: sqlite3.Connection, state: str, numbers: range) -> None:
    columns = "id, disk_id, path, lfn, lfn_key, size, mtime_ns, inode, checksum, state, since, scan, failures, zip_id, freed"
    rows = (
        (n, 1, _lfn(n), _lfn(n), names.key(_lfn(n)), 300, 0, n, "adler32:00000001", state, SINCE, 1, 0, n, SINCE) for n in numbers
    )
    db.executemany(f"INSERT INTO daq_file ({columns}) VALUES ({', '.join('?' * 15)})", rows)


def _copies(db: sqlite3.Connection, home: Path, state: str, numbers: range) -> None:
    columns = "pipeline, name, name_key, source, destination, place_key, state, since, list_id, failures, tries, overwrite"

    def row(n: int) -> tuple[object, ...]:
        name, tape = f"{_lfn(n)}.zip", f"file://{home}/demo/tape{_lfn(n)}.zip"
        source = f"file://{home}/demo/site/zips{_lfn(n)}.dm-{n:020}.zip"
        return ("daq", name, names.key(name), source, tape, names.key(tape), state, SINCE, n // 50, 0, 1, 0)

    db.executemany(f"INSERT INTO transfer ({columns}) VALUES ({', '.join('?' * 12)})", map(row, numbers))


def compare(place: Path, sizes: list[tuple[int, int, int]], runs: int) -> dict[str, list[float]]:
    """CPU samples of a pass at each of these sizes, in turns."""
    homes = []
    for size in sizes:
        begun = time.perf_counter()
        homes.append(make(place, *size))
        print(f"made {size}: zipping, to tape, finished, in {time.perf_counter() - begun:.0f} s", flush=True)
        run(homes[-1], "daq-archive", "-q")
    found: dict[str, list[float]] = {home.name: [] for home in homes}
    for _ in range(runs):
        for home in homes:
            found[home.name].append(round(run(home, "daq-archive", "-q"), 4))
    for home in homes:
        shutil.rmtree(home)
    for name, samples in found.items():
        print(f"{name}: median {statistics.median(samples):.3f} s of {samples}", flush=True)
    return found


def main() -> int:
    """Runs it all; gives the exit code."""
    numbers = lambda text: [int(word) for word in text.split(",")]  # noqa: E731
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--open", type=numbers, default=[1000, 10000])
    parser.add_argument("--finished", type=numbers, default=[1000, 1000000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    place, good, told = Path(tempfile.mkdtemp(prefix="dm-bench-")), True, {}
    try:
        small, large = options.open
        for what, sizes in (
            ("zip jobs", [(0, 0, 0), (small, 0, 0), (large, 0, 0)]),
            ("to tape", [(0, 0, 0), (0, small, 0), (0, large, 0)]),
        ):
            samples = compare(place, sizes, options.runs)
            idle, one, other = (statistics.median(found) for found in samples.values())
            each = [(one - idle) / small, (other - idle) / large]
            print(f"{what}: per open one {each[0] * 1e6:.0f} us with {small:,}, {each[1] * 1e6:.0f} us with {large:,}")
            good = good and each[1] <= each[0] * MOST
            told[what] = {**samples, "each": each}
        few, many = options.finished
        samples = compare(place, [(100, 0, few), (100, 0, many)], options.runs)
        one, other = (statistics.median(found) for found in samples.values())
        print(f"finished: {one:.3f} s with {few:,}, {other:.3f} s with {many:,}: {other / one:.2f}")
        good = good and other <= one * MOST
        told["finished"] = samples
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(told, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
