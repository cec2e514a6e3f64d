"""The dump of a disk with its proofs, against `rsync -a` followed by `sha512sum -c`.

Repeat it with: python bench/lta_dump.py [--files 5000] [--gigabytes 2] [--rounds 3] [--directory DIR]

Ours: lta-dump-control on a HOME of its own, start to end: files are read once with their sha512, written, read back, synced,
recorded and booked. Theirs: rsync -a, then sha512sum -c of a list that was made beforehand, and sync, for ours is durable.
The two take turns; what each made is removed, and the disk is idle, before the next begins. Both trees are compared with the
disk first. Prints every sample, then medians and ratio.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UUID = "5b1e3f7a-0001-4c2d-8e9f-000000000001"


def main() -> int:
    options = _options()
    place = Path(tempfile.mkdtemp(prefix="lta-dump-", dir=options.directory))
    home = place / "home"
    disk = home / "demo/lta/slots/slot1" / UUID
    try:
        command("dm-config", "init", home, home=home)
        make(disk, options.files, int(options.gigabytes * 1e9))
        sums = place / "sums"
        with sums.open("wb") as file:
            subprocess.run("find . -type f -print0 | xargs -0 sha512sum", shell=True, cwd=disk, check=True, stdout=file)
        samples: dict[str, list[float]] = {"lta-dump-control": [], "rsync -a; sha512sum -c": []}
        for number in range(options.rounds):
            for name, way in (("lta-dump-control", dumped), ("rsync -a; sha512sum -c", synced)):
                os.sync()
                begun = time.monotonic()
                target = way(home, disk, sums)
                samples[name].append(time.monotonic() - begun)
                if number == 0 and subprocess.run(["diff", "-r", disk, target]).returncode != 0:
                    raise SystemExit(f"{name} made another tree")
                for entry in target.iterdir():
                    shutil.rmtree(entry)
                os.sync()
                if name == "lta-dump-control":
                    command("lta-dump-control", "--again", UUID, home=home)
            print(number, {name: round(times[-1], 2) for name, times in samples.items()}, flush=True)
        medians = [statistics.median(times) for times in samples.values()]
        print({name: [round(one, 2) for one in times] for name, times in samples.items()})
        print(f"{options.files} files, {options.gigabytes} GB; medians {[round(one, 2) for one in medians]}; ", end="")
        print(f"ours / theirs: {medians[0] / medians[1]:.2f}")
        return 0
    finally:
        shutil.rmtree(place)


def dumped(home: Path, _disk: Path, _sums: Path) -> Path:
    command("lta-dump-control", home=home)
    return home / "demo/lta/warehouse"


def synced(home: Path, disk: Path, sums: Path) -> Path:
    target = home / "demo/lta/dump"
    subprocess.run(["rsync", "-a", f"{disk}/", f"{target}/"], check=True)
    subprocess.run(["sha512sum", "--quiet", "-c", sums], cwd=target, check=True)
    os.sync()
    return target


def command(name: str, *args: object, home: Path) -> None:
    argv = [sys.executable, str(ROOT / "bin" / name), *map(str, args)]
    subprocess.run(argv, env={**os.environ, "DMTOOLS_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL)


def make(root: Path, number: int, total: int) -> None:
    """Files of about the same size in directories of a thousand, of bytes that can't be guessed."""
    block = random.Random(1).randbytes(total // number + 1)
    for n in range(number):
        directory = root / "data/exp/2016" / f"{n // 1000:04d}"
        if n % 1000 == 0:
            directory.mkdir(parents=True)
        (directory / f"file_{n:07d}.dat").write_bytes(n.to_bytes(8) + block[: total // number - 8])
    os.sync()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
