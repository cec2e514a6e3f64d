"""migrate-compare against `LC_ALL=C sort` and `comm` of the same two lists, alternated in one run; equal output is checked.

    .venv/bin/python bench/migrate_compare.py [--names 3000000] [--runs 5] [--json FILE]

Prints each sample (wall and CPU seconds), the medians, their ratio, and the most memory that the command and both its
sorts held together. `sort` and `comm` only say which names differ; they check no line, know no age and count nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLAIN = """set -e; export LC_ALL=C
sort -T . dump -o dump.sorted; sort -T . catalogue -o catalogue.sorted
comm -13 dump.sorted catalogue.sorted >lost; comm -23 dump.sorted catalogue.sorted >dark"""
COLUMNS = ["--dump-columns", "name,size,mtime", "--catalogue-columns", "name,size"]


def make(place: Path, names: int, columns: bool) -> None:
    """Two lists in random order, as experiments write them; one name in 1000 of each is not in the other."""
    order = list(range(names))
    for side, title in enumerate(("dump", "catalogue")):
        random.Random(side).shuffle(order)
        with (place / title).open("wb", buffering=1 << 20) as file:
            for n in order:
                if n % 1000 == side:
                    continue
                name = f"/lhcb/LHCb/Collision{n % 18:02}/BHADRON.MDST/{n // 10000:08}/0000/{n // 7:08}_{n:08}_1.bhadron.mdst"
                file.write(f"{name}\t{n}{'' if side else chr(9) + '1700000000'}\n".encode() if columns else f"{name}\n".encode())


def timed(argv: list[str], place: Path) -> tuple[float, float, int]:
    """(wall seconds, CPU seconds, most bytes in memory of the process and its children at once)"""
    before, begun, most = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0
    with subprocess.Popen(argv, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            most = max(most, held(process.pid))
            time.sleep(0.005)
        wall = time.perf_counter() - begun
        said = process.stderr.read() if process.stderr else b""
    if process.returncode not in (0, 1):
        sys.exit(f"{argv[0]} gave {process.returncode}: {said.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, most


def held(pid: int) -> int:
    """Bytes in memory of a process and its children."""
    total = 0
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (str(pid), *children):
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):
        pass
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=3_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    wishes = parser.parse_args()
    ours = [sys.executable, str(ROOT / "bin" / "migrate-compare"), "dump", "catalogue", "--out", "out", "--min-age", "0"]
    sides = {"ours": ours, "plain": ["sh", "-c", PLAIN]}
    samples: dict[str, list[tuple[float, float, int]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory(prefix="bench-compare-") as base:
        place = Path(base)
        make(place, wishes.names, columns=False)
        for turn in range(wishes.runs + 1):  # the first one warms up
            for side, argv in sides.items():
                sample = timed(argv, place)
                if turn:
                    samples[side].append(sample)
                    print(f"{side:8} {sample[0]:7.2f} s wall {sample[1]:7.2f} s cpu {sample[2] / 1e6:7.1f} MB", flush=True)
            for kind in ("lost", "dark"):
                if (place / kind).read_bytes() != (place / "out" / f"{kind}.txt").read_bytes():
                    sys.exit(f"the two sides differ: {kind}")
        make(place, wishes.names, columns=True)
        with_columns = timed([*ours, *COLUMNS], place)
    medians = {side: [statistics.median(column) for column in zip(*rows, strict=True)] for side, rows in samples.items()}
    ratios = {what: round(medians["ours"][n] / medians["plain"][n], 2) for n, what in enumerate(("wall", "cpu"))}
    memory = max(row[2] for row in [*samples["ours"], with_columns])
    print(f"{wishes.names} names a list, outputs equal; ours to sort+comm, medians of {wishes.runs}: {ratios}")
    print(f"most memory of ours: {memory / 1e6:.1f} MB; with columns: {with_columns[0]:.2f} s wall, {with_columns[1]:.2f} s cpu")
    if wishes.json:
        record = {"names": wishes.names, "samples": samples, "ratios": ratios, "memory": memory, "with_columns": with_columns}
        wishes.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
