"""A bundle of many files, built in one read of them, against `cp -r` and against `openssl dgst -sha512` over the same files.

Repeat it with: python bench/lta_bundle.py [--files 100000] [--gigabytes 20] [--rounds 3] [--directory DIR]

The ways take turns in each round; what each made is removed, and the disk is idle, before the next begins. `build`: the files
are read once, each with its sha512, adler32 and crc32, the zip is written with its manifest and synced; `with its own sum`: then
the zip is read back for its own sha512. cp is followed by `sync`, for the bundle is durable, too. Before the first round the
bundle is proved: unzip -t, and each sha512 of its manifest against openssl's. Prints every sample, then medians and ratios.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmtools.lta.glue import building, manifest
from dmtools.lta.glue.layout import File, Layout

BUILD, WHOLE, CP, OPENSSL = "build", "with its own sum", "cp -r; sync", "openssl dgst -sha512"


def main() -> int:
    options = _options()
    place = Path(tempfile.mkdtemp(prefix="lta-bundle-", dir=options.directory))
    try:
        source = place / "source"
        make(source, options.files, int(options.gigabytes * 1e9))
        files = listed(source)
        prove(source, files, place)
        samples: dict[str, list[float]] = {BUILD: [], WHOLE: [], CP: [], OPENSSL: []}
        for number in range(options.rounds):
            bundle(files, place, samples)
            samples[CP].append(timed(lambda: copied(source, place)))
            shutil.rmtree(place / "copy")
            samples[OPENSSL].append(timed(lambda: digests(source)))
            print(number, {name: round(times[-1], 2) for name, times in samples.items()}, flush=True)
        medians = {name: statistics.median(times) for name, times in samples.items()}
        slower = max(medians[CP], medians[OPENSSL])
        print({name: [round(one, 2) for one in times] for name, times in samples.items()})
        print(f"{options.files} files, {options.gigabytes} GB; medians: { ({n: round(m, 2) for n, m in medians.items()}) }")
        for name in (BUILD, WHOLE):
            print(f"{name} / the slower of cp and openssl: {medians[name] / slower:.2f}")
        return 0
    finally:
        shutil.rmtree(place)


def make(root: Path, number: int, total: int) -> None:
    """Files of about the same size in directories of a thousand, of bytes that can't be guessed."""
    block = random.Random(1).randbytes(total // number + 1)
    for n in range(number):
        directory = root / f"{n // 1000:04d}"
        if n % 1000 == 0:
            directory.mkdir(parents=True)
        (directory / f"file_{n:07d}.dat").write_bytes(n.to_bytes(8) + block[: total // number - 8])
    os.sync()


def listed(root: Path) -> list[File]:
    found = []
    for path in sorted(root.rglob("*.dat")):
        status = path.stat()
        found.append(File(os.fsencode(path), f"/data/{path.relative_to(root)}", status.st_size, status.st_mtime_ns))
    return found


def built(files: list[File], path: Path, before_the_sum: Callable[[], None] = lambda: None) -> building.Built:
    begin = building._sync_and_read

    def sync_and_read(handle: int, target: bytes, size: int, pulse: building.Pulse) -> building.Sums:
        os.fsync(handle)
        before_the_sum()
        return begin(handle, target, size, pulse)

    building._sync_and_read = sync_and_read
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        return building.build(Layout("bench", files), handle, os.fsencode(path), {}, stall=600, each=lambda: None)
    finally:
        os.close(handle)
        building._sync_and_read = begin


def bundle(files: list[File], place: Path, samples: dict[str, list[float]]) -> None:
    path = place / "bundle.zip"
    os.sync()
    begun = time.monotonic()
    built(files, path, lambda: samples[BUILD].append(time.monotonic() - begun))
    samples[WHOLE].append(time.monotonic() - begun)
    path.unlink()
    os.sync()


def copied(source: Path, place: Path) -> None:
    subprocess.run(["cp", "-r", source, place / "copy"], check=True)
    os.sync()


def digests(source: Path) -> None:
    for directory in sorted(source.iterdir()):
        subprocess.run(["openssl", "dgst", "-sha512", *directory.iterdir()], check=True, stdout=subprocess.DEVNULL)


def timed(act: Callable[[], None]) -> float:
    os.sync()
    begun = time.monotonic()
    act()
    return time.monotonic() - begun


def prove(source: Path, files: list[File], place: Path) -> None:
    """The bundle is right: unzip reads it, and each sum of its manifest is what openssl says."""
    path = place / "bundle.zip"
    made = built(files, path)
    if subprocess.run(["unzip", "-tqq", path], capture_output=True).returncode != 0:
        raise SystemExit("unzip -t finds fault with the bundle")
    said = subprocess.run(["unzip", "-p", path, "bench.metadata.ndjson"], check=True, capture_output=True).stdout
    wanted = {}
    for directory in sorted(source.iterdir()):
        text = subprocess.run(
            ["openssl", "dgst", "-r", "-sha512", *directory.iterdir()], check=True, capture_output=True, text=True
        )
        for line in text.stdout.splitlines():
            digest, _, name = line.partition(" *")
            wanted[f"/data/{Path(name).relative_to(source)}"] = digest
    if {one.name: one.sha512 for one in manifest.read(said).files} != wanted:
        raise SystemExit("the manifest has other sums than openssl")
    whole = hashlib.sha512()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            whole.update(block)
    if whole.hexdigest() != made.sums.sha512:
        raise SystemExit("the bundle has another sha512 than was said")
    path.unlink()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
