"""A durable copy with its checksum in one read, against `cp` and `sync`, and against `cp; sync; xrdadler32`.

Repeat it with: python bench/storage_copy.py [MEGABYTES [ROUNDS [DIRECTORY]]]   (2000, 5, the directory of temporary files)

The three ways take turns in each round; each copy is removed and the disk is idle before the next begins. Copies are
compared with their source first. Prints every sample, then the medians and their ratios.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmtools.names import file_url
from dmtools.storage.local import LocalStore

CP, CP_CHECKSUM, OURS = "cp; sync", "cp; sync; xrdadler32", "dmtools"


def cp_sync(source: Path, target: Path) -> str:
    subprocess.run(["cp", source, target], check=True)
    subprocess.run(["sync"], check=True)
    return ""


def cp_sync_checksum(source: Path, target: Path) -> str:
    cp_sync(source, target)
    done = subprocess.run(["xrdadler32", target], check=True, capture_output=True, text=True)
    return f"adler32:{done.stdout.split()[0]}"


def ours(source: Path, target: Path) -> str:
    return LocalStore().copy(file_url(source), file_url(target)).checksum


WAYS: dict[str, Callable[[Path, Path], str]] = {CP: cp_sync, CP_CHECKSUM: cp_sync_checksum, OURS: ours}


def settle(target: Path) -> None:
    target.unlink(missing_ok=True)
    os.sync()
    time.sleep(1)


def prepare(place: Path, megabytes: int) -> Path:
    source = place / "source"
    with source.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    os.sync()
    return source


def check(source: Path, target: Path) -> None:
    sums = {
        name: (way(source, target), filecmp.cmp(source, target, shallow=False), settle(target))[:2] for name, way in WAYS.items()
    }
    assert all(equal for _, equal in sums.values()), sums
    assert sums[OURS][0] == sums[CP_CHECKSUM][0], sums
    print(f"all three make the same file, {sums[OURS][0]}")


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    place = Path(tempfile.mkdtemp(prefix="dmb-", dir=sys.argv[3] if len(sys.argv) > 3 else None))
    try:
        source, target = prepare(place, megabytes), place / "target"
        check(source, target)  # also warms the memory up
        samples: dict[str, list[float]] = {name: [] for name in WAYS}
        for turn in range(rounds):
            names = [*WAYS][turn % 3 :] + [*WAYS][: turn % 3]
            for name in names:
                began = time.perf_counter()
                WAYS[name](source, target)
                samples[name].append(time.perf_counter() - began)
                settle(target)
    finally:
        shutil.rmtree(place)
    middle = {name: statistics.median(values) for name, values in samples.items()}
    for name, values in samples.items():
        print(f"{name:22} median {middle[name]:6.2f} s   {' '.join(f'{value:.2f}' for value in values)}")
    print(f"dmtools / (cp; sync)             {middle[OURS] / middle[CP]:.2f}   wanted: at most 1.00")
    print(f"(cp; sync; xrdadler32) / dmtools {middle[CP_CHECKSUM] / middle[OURS]:.2f}   wanted: at least 1.70")


if __name__ == "__main__":
    main()
