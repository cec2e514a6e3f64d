"""lta's scan of outbound against `find -printf` and `sqlite3 .import`.

    .venv/bin/python bench/lta_scan.py [--files 1000000] [--rounds 3] [--size 20]

The sides take turns, each on a tree that was read before. Theirs: names, sizes, times and inodes into a table with its key.
Ours is the whole command: start, walk, what is known asked for in the books, answers compared; `known` is a scan where every
zip is a bundle already (what cron does each ten minutes), `new` one where none is: each zip opened, read, hashed by sha512
and adler32, added with its journal entry and counts, which the other side does nothing of. Prints each sample, the medians,
their ratios, and the largest memory of our side.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from daq import PYTHON, find_and_import, largest, quietly, told  # noqa: E402

SCAN_ONLY = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from dmtools.control import passes
@passes.one("lta", "bundle-scanner", example="bench")
def main(this):
    from dmtools.lta.home import Home
    from dmtools.lta.office import books_of
    from dmtools.lta.scan import Scan
    from dmtools.lta.work import Work
    scan = Scan(Work(this, books_of(this), Home.of(this)), seconds=1e9)
    assert not scan.run()
    print(scan.new, scan.known)
main()
"""


def tree(place: Path, files: int, size: int, a_directory: int = 1000) -> None:
    """Zips as a producer writes them, an hour old."""
    for number in range(files):
        directory = place / f"2016/unbiased/PFRaw/{number // a_directory:05}"
        if number % a_directory == 0:
            directory.mkdir(parents=True)
        (directory / f"PFRaw_PhysicsFiltering_Run{number:08}.zip").write_bytes(b"%020d" % number + os.urandom(max(0, size - 20)))


def home(place: Path, outbound: Path) -> dict[str, str]:
    """A fresh HOME over the tree."""
    shutil.rmtree(place, ignore_errors=True)
    quietly([PYTHON, ROOT / "bin/dm-config", "init", place], {})
    file = place / "dmtools.toml"
    file.write_text(f'lta.outbound = "{outbound}"\nlta.settle_seconds = 0\n' + file.read_text())
    return {"DMTOOLS_HOME": str(place)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=20, help="bytes of each zip, at least 20")
    parser.add_argument("--place", type=Path, help="where to work; else the directory of temporary files")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="dmb-", dir=options.place))
    try:
        outbound = place / "outbound"
        tree(outbound, options.files, options.size)
        new, known, theirs = [], [], []
        for _ in range(options.rounds):
            theirs.append(find_and_import(outbound, place))
            env = home(place / "home", outbound)
            new.append(quietly([PYTHON, "-c", SCAN_ONLY, ROOT], env))
            known.append(quietly([PYTHON, "-c", SCAN_ONLY, ROOT], env))
            with subprocess.Popen(
                ["sqlite3", place / "home/dmtools.db", "SELECT COUNT(*) FROM lta_bundle"], stdout=subprocess.PIPE
            ) as count:
                assert int((count.stdout.read() if count.stdout else b"0") or 0) == options.files
        told(f"scan of {options.files} known zips", known, theirs, "find; sqlite3 .import", 2.5)
        told(f"scan of {options.files} new zips", new, theirs, "find; sqlite3 .import", float("inf"))
        print(f"largest memory: {largest():.0f} MB")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
