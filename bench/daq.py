"""daq's scan against `find -printf` and `sqlite3 .import`; its copies against `rclone copy` with as many transfers.

    .venv/bin/python bench/daq.py scan [--files 1000000] [--rounds 3]
    .venv/bin/python bench/daq.py copy [--small 20000] [--large 8] [--megabytes 500] [--rounds 3] [--threads 5]
    .venv/bin/python bench/daq.py pass [--files 100000]      a pass with nothing new; a pass over so many finished files

The two sides take turns, each on trees that were read before (what is measured is not the disk's first read). Ours is the
whole command: start, scan, rows on the disk; for copies also checksums, read-back, sync, journal. Prints each sample, the
medians, their ratio, and the largest memory of our side.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PYTHON = sys.executable
SCAN_ONLY = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from dmtools.control import passes
@passes.one("daq", "transfer", example="bench")
def main(this):
    from dmtools.daq.disks import look_at_all
    from dmtools.daq.scan import scan
    for disk in look_at_all(this):
        if disk.works:
            scan(this, disk)
main()
"""


def tree(place: Path, files: int, size: int, a_directory: int = 1000) -> None:
    """A run as the DAQ writes it."""
    for number in range(files):
        directory = place / f"MIG_run{number // a_directory:05}" / "raw"
        if number % a_directory == 0:
            directory.mkdir(parents=True)
        with open(directory / f"MIG_run_240716T{number:07}.dat", "wb") as file:
            left = size
            while left > 0:
                left -= file.write(os.urandom(min(left, 1 << 20)))


def home(place: Path, disk: Path) -> dict[str, str]:
    """A fresh HOME over one disk, flagged."""
    shutil.rmtree(place, ignore_errors=True)
    quietly([PYTHON, ROOT / "bin/dm-config", "init", place], {})
    with (place / "dmtools.toml").open("a") as file:
        file.write(f'[daq]\ndisks = ["{disk}"]\nsite = "file://{place}/demo/site"\n')
    (disk / "ReadyToTransfer").touch()
    return {"DMTOOLS_HOME": str(place)}


def quietly(command: list[object], env: dict[str, str]) -> float:
    """Runs it to its end; gives the seconds."""
    began = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, env={**os.environ, **env}, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def largest() -> float:
    """The largest memory of any child so far, in MB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def told(name: str, ours: list[float], theirs: list[float], other: str, wanted: float) -> None:
    """Samples, medians, ratio."""
    for label, values in (("ours", ours), (other, theirs)):
        print(f"{name}: {label:28} median {statistics.median(values):7.2f} s   {' '.join(f'{v:.2f}' for v in values)}")
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"{name}: ours / {other} = {ratio:.2f}   wanted: at most {wanted:.2f}", flush=True)


def find_and_import(disk: Path, place: Path) -> float:
    """The side that the scan is measured against; both on disk in the end."""
    database, listing = place / "find.db", place / "find.txt"
    for path in (database, listing):
        path.unlink(missing_ok=True)
    began = time.perf_counter()
    with listing.open("wb") as out:
        subprocess.run(["find", disk, "-type", "f", "-printf", "%P|%s|%T@|%i\n"], check=True, stdout=out)
    table = "CREATE TABLE file(path TEXT PRIMARY KEY, size INTEGER, mtime TEXT, inode INTEGER);"
    subprocess.run(["sqlite3", database, "-cmd", table, "-cmd", ".separator |", f".import {listing} file"], check=True, input=b"")
    return time.perf_counter() - began


def scan(place: Path, options: argparse.Namespace) -> None:
    """One million files into the tables."""
    disk = place / "disk"
    tree(disk, options.files, 0)
    ours, theirs = [], []
    for _ in range(options.rounds):
        theirs.append(find_and_import(disk, place))
        env = home(place / "home", disk)
        ours.append(quietly([PYTHON, "-c", SCAN_ONLY, ROOT], env))
    told(f"scan of {options.files} files", ours, theirs, "find; sqlite3 .import", 2.5)
    print(f"largest memory: {largest():.0f} MB")


def copies(place: Path, options: argparse.Namespace) -> None:
    """Small files and large ones."""
    for name, files, size in (("small", options.small, 4000), ("large", options.large, options.megabytes * 1_000_000)):
        if not files:
            continue
        disk, target = place / name, place / "rclone"
        tree(disk, files, size)
        ours, theirs = [], []
        for _ in range(options.rounds):
            env = home(place / "home", disk)
            os.sync()
            ours.append(quietly([PYTHON, ROOT / "bin/daq-transfer", "--threads", options.threads], env))
            subprocess.run(["diff", "-rq", disk, place / "home/demo/site/2407/240716"], check=False)
            shutil.rmtree(place / "home")
            os.sync()
            flags = ["--transfers", options.threads, "--config", "/dev/null", "-q"]
            theirs.append(quietly(["rclone", "copy", disk, target, *flags], {}))
            shutil.rmtree(target)
            os.sync()
        told(f"copy of {files} {name} files", ours, theirs, f"rclone --transfers {options.threads}", 1.0)
        shutil.rmtree(disk)
    print(f"largest memory: {largest():.0f} MB")


def quiet_pass(place: Path, options: argparse.Namespace) -> None:
    """A disk with nothing new, then tables with as many finished files."""
    disk = place / "disk"
    tree(disk, options.files, 0)
    env = home(place / "home", disk)
    first = quietly([PYTHON, "-c", SCAN_ONLY, ROOT], env)
    again = [quietly([PYTHON, "-c", SCAN_ONLY, ROOT], env) for _ in range(options.rounds)]
    print(f"scan of {options.files} files: first {first:.2f} s, with nothing new {statistics.median(again):.2f} s")
    sql = "UPDATE daq_file SET state = 'Freed', place_key = NULL, freed = since; UPDATE daq_disk SET state = 'Filling'"
    subprocess.run(["sqlite3", place / "home/dmtools.db", sql], check=True)
    shutil.rmtree(disk)
    disk.mkdir()
    many = [quietly([PYTHON, ROOT / "bin/daq-transfer"], env) for _ in range(options.rounds)]
    print(f"a pass over {options.files} finished files: {statistics.median(many):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("scan", "copy", "pass"))
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=20_000)
    parser.add_argument("--large", type=int, default=8)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=5)
    parser.add_argument("--place", type=Path, help="where to work; else the directory of temporary files")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="dmb-", dir=options.place))
    try:
        {"scan": scan, "copy": copies, "pass": quiet_pass}[options.what](place, options)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
