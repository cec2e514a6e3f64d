"""daq-zip's zipping against Info-ZIP's `zip -6`, on detector data made here; and its memory on a file of 20 GB.

Repeat it with: python bench/daq_zip.py [MEGABYTES [ROUNDS [DIRECTORY]]]   (200, 5, the directory of temporary files)
                python bench/daq_zip.py levels [MEGABYTES]     every level of zlib-ng and isal on one core, against zip -6
                python bench/daq_zip.py memory [GIGABYTES]     a whole job (20), its peak memory and that of one of 0.1 GB

The data: events of a camera with a readout noise of 3 counts about a pedestal of 100 (1152 x 576 pixels of 16 bits, with one to
three tracks of Gaussian width on them), each followed by zero-suppressed waveforms of a digitiser (120 channels of 12 bits in 16,
10 to 60 of them hit in a trigger, 64 to 400 samples each: noise of 2.5 counts about the baseline, exponential pulses). Two thirds
of the bytes are frames. All is drawn anew for 64 MB, then repeated: deflate looks back over 32 kB only.

Both sides read the same file from memory and write to the same directory, in turns, bound to one core or to two. `zip` can use
one only. Ours is timed in two ways: the zip alone, as Info-ZIP does it, and the whole command (zip, test by unzipping it all,
upload with a checksum, result). Zips are tested and compared with their source first. Each sample is seconds by the clock and, in
brackets, of the processor: on a machine that does other things, too, the latter say more.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmtools.daq import deflating, jobfile
from dmtools.names import file_url
from dmtools.storage import checksum as sums
from dmtools.storage.zipformat import ZipWriter

ROOT = Path(__file__).resolve().parents[1]
UNIQUE = 64 << 20
WIDTH, HEIGHT = 1152, 576
CORES = sorted(os.sched_getaffinity(0))
# A small process between us and the job: a child's peak begins with its parent's.
PEAK = (
    "import resource as r, subprocess as s, sys; s.run(sys.argv[1:], check=True); print(r.getrusage(r.RUSAGE_CHILDREN).ru_maxrss)"
)
ZIP = ["zip", "-6", "-q", "-X", "-j"]


# ---- the data ----------------------------------------------------------------------------------------------------------


def noise(rng: random.Random, count: int, mean: float, sigma: float) -> bytes:
    """Gaussian noise in whole counts, a byte each."""
    law = statistics.NormalDist(mean, sigma)
    table = bytes(min(255, max(0, round(law.inv_cdf((i + 0.5) / 256)))) for i in range(256))
    return rng.randbytes(count).translate(table)


def frame(rng: random.Random, number: int) -> bytes:
    pixels = bytearray(2 * WIDTH * HEIGHT)
    pixels[0::2] = noise(rng, WIDTH * HEIGHT, 100, 3)
    for _ in range(rng.randrange(1, 4)):
        x, y, angle = rng.random() * WIDTH, rng.random() * HEIGHT, rng.random() * math.tau
        for _ in range(rng.randrange(30, 200)):
            x, y, angle = x + math.cos(angle), y + math.sin(angle), angle + rng.gauss(0, 0.1)
            for at, weight in spot(int(x), int(y)):
                light = int(rng.expovariate(1 / 20) * weight)
                struct.pack_into("<H", pixels, at, min(65535, struct.unpack_from("<H", pixels, at)[0] + light))
    return struct.pack("<4sIQIIQ", b"FRAM", number, 1_700_000_000_000 + number * 8_333_333, WIDTH, HEIGHT, 0) + pixels


def spot(x: int, y: int) -> Iterator[tuple[int, float]]:
    for right in range(max(0, x - 4), min(WIDTH, x + 5)):
        for down in range(max(0, y - 4), min(HEIGHT, y + 5)):
            yield 2 * (down * WIDTH + right), math.exp(-((right - x) ** 2 + (down - y) ** 2) / 6)


def waveforms(rng: random.Random, number: int) -> bytes:
    hit = sorted(rng.sample(range(120), rng.randrange(10, 60)))
    made = [struct.pack("<4sIQHH", b"EVNT", number, rng.randrange(1 << 48), len(hit), 0)]
    for channel in hit:
        count, start, tau = rng.randrange(64, 400), rng.randrange(16, 32), rng.uniform(8, 60)
        height = rng.expovariate(1 / 300)
        base = noise(rng, count, 128, 2.5)
        pulse = (int(height * math.exp((start - i) / tau)) if i >= start else 0 for i in range(count))
        samples = [min(4095, 512 + low + high) for low, high in zip(base, pulse, strict=True)]
        made.append(struct.pack(f"<HHIH{count}H", channel, count, rng.randrange(1 << 20), 0, *samples))
    return b"".join(made)


def detector_data(megabytes: int, seed: int = 5) -> bytes:
    rng = random.Random(seed)
    wanted, made, number = megabytes * 1_000_000, bytearray(), 0
    while len(made) < min(wanted, UNIQUE):
        made += frame(rng, number)
        end = len(made) + WIDTH * HEIGHT
        while len(made) < end:
            made += waveforms(rng, number)
            number += 1
    return bytes((made * (wanted // len(made) + 1))[:wanted])


# ---- the sides -----------------------------------------------------------------------------------------------------------


def ours(source: Path, target: Path, level: int = jobfile.LEVEL) -> None:
    """As daq-zip does it: one read, both checksums, deflate on the cores we are bound to."""
    adler, crc = 1, 0

    def blocks() -> Iterator[bytes]:
        nonlocal adler, crc
        with source.open("rb") as file:
            while block := file.read(deflating.BLOCK):
                adler, crc = sums.adler32(block, adler), deflating.crc32(block, crc)
                yield block

    with target.open("wb") as file:
        writer, size = ZipWriter(file), source.stat().st_size
        member = writer.begin(source.name.encode(), size)
        packed = writer.write(deflating.deflate(blocks(), level, deflating.threads()))
        writer.end(member, crc=crc, packed=packed, size=size)
        writer.close()


def info_zip(source: Path, target: Path) -> None:
    subprocess.run([*ZIP, target, source], check=True)


def job(source: Path, target: Path, checksum: str, level: int = jobfile.LEVEL) -> list[str]:
    """The argv of a whole job for this file."""
    place = target.parent / "job.json"
    file = {"lfn": "/" + source.name, "source": file_url(source), "size": source.stat().st_size, "checksum": checksum}
    told = {"key": "bench", "name": "/bench.zip", "upload": file_url(target), "scratch": str(target.parent), "level": level}
    place.write_text(json.dumps(told | {"files": [file]}))
    return [sys.executable, str(ROOT / "bin/daq-zip"), str(place)]


def bound(cores: int, act: Callable[[], object]) -> tuple[float, float]:
    """Seconds that it takes on so many cores: by the clock, of the processor."""
    os.sched_setaffinity(0, CORES[:cores])
    began, used = time.perf_counter(), sum(os.times()[:4])
    act()
    took = time.perf_counter() - began, sum(os.times()[:4]) - used
    os.sched_setaffinity(0, CORES)
    return took


# ---- what is measured ----------------------------------------------------------------------------------------------------


def compare(place: Path, megabytes: int, rounds: int) -> None:
    source, target = place / "run_240102T1200.dat", place / "made.zip"
    source.write_bytes(detector_data(megabytes))
    checksum = sums.text(sums.adler32(source.read_bytes()))
    argv = job(source, target, checksum)
    sides: dict[str, tuple[int, Callable[[], object]]] = {
        "zip -6": (1, lambda: info_zip(source, target)),
        "ours, one core": (1, lambda: ours(source, target)),
        "ours, two cores": (2, lambda: ours(source, target)),
        "daq-zip, one core": (1, lambda: subprocess.run(argv, check=True)),
        "daq-zip, two cores": (2, lambda: subprocess.run(argv, check=True)),
    }
    sizes = {name: check(target, source, act) for name, (_, act) in sides.items()}
    print(f"peer: {' '.join(ZIP)} made.zip {source.name}   ({megabytes} MB, {rounds} rounds)")
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    names = list(sides)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            target.unlink(missing_ok=True)
            samples[name].append(bound(*sides[name]))
    peer = middle(samples["zip -6"])
    for name, values in samples.items():
        wall, cpu = middle(values)
        said = (
            f"{megabytes / wall:6.1f} MB/s, {peer[0] / wall:5.2f} x zip -6 by the clock, {peer[1] / cpu:5.2f} x by processor time"
        )
        print(f"{name:18} {said}, {sizes[name] / sizes['zip -6']:.4f} of its size")
        print(f"{'':18} {' '.join(f'{clock:.2f}({used:.2f})' for clock, used in values)}")
    print("wanted: one core at least 5 x, two cores at least 10 x, size at most 1.0")


def middle(values: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(wall for wall, _ in values), statistics.median(cpu for _, cpu in values)


def check(target: Path, source: Path, act: Callable[[], object]) -> int:
    """The zip's size, when unzip finds it whole and its file equal."""
    target.unlink(missing_ok=True)
    act()
    subprocess.run(["unzip", "-tq", target], check=True, stdout=subprocess.DEVNULL)
    unzipped = subprocess.run(["unzip", "-p", target, source.name], check=True, stdout=subprocess.PIPE).stdout
    assert unzipped == source.read_bytes(), target
    return target.stat().st_size


def levels(place: Path, megabytes: int) -> None:
    from isal import isal_zlib
    from zlib_ng import zlib_ng

    source, target = place / "levels.dat", place / "made.zip"
    data = detector_data(megabytes)
    source.write_bytes(data)
    _, peer = bound(1, lambda: info_zip(source, target))
    size = target.stat().st_size
    print(f"of processor time; {' '.join(ZIP)}: {len(data) / peer / 1e6:.1f} MB/s, {size / len(data):.4f} of the data")
    for name, module, numbers in (("isal", isal_zlib, range(4)), ("zlib-ng", zlib_ng, range(1, 7)), ("zlib", zlib, (1, 6))):
        for level in numbers:
            deflating._deflate = module  # type: ignore[attr-defined]
            _, took = bound(1, lambda level=level: ours(source, target, level))  # type: ignore[misc]
            made = target.stat().st_size
            print(f"{name:8} {level}  {len(data) / took / 1e6:6.1f} MB/s  {peer / took:5.2f} x  {made / size:.4f} of its size")


def memory(place: Path, gigabytes: float) -> None:
    data = detector_data(100)
    for size in (0.1, gigabytes):
        source, target, checksum = place / "large.dat", place / "up.zip", 1
        with source.open("wb") as file:
            for _ in range(int(size * 10)):
                file.write(data)
                checksum = sums.adler32(data, checksum)
        argv = job(source, target, sums.text(checksum), 1)  # the level takes time, not memory
        began = time.perf_counter()
        peak = int(subprocess.run([sys.executable, "-c", PEAK, *argv], check=True, stdout=subprocess.PIPE).stdout)
        took = time.perf_counter() - began
        print(f"a job of {size:5.1f} GB: {took:7.1f} s, peak memory {peak / 1024:.1f} MiB", flush=True)
        target.unlink()


def main() -> None:
    words = sys.argv[1:]
    what = words.pop(0) if words and words[0] in ("levels", "memory") else ""
    place = Path(tempfile.mkdtemp(prefix="dmb-", dir=words[2] if len(words) > 2 else None))
    try:
        if what == "levels":
            levels(place, int(words[0]) if words else 64)
        elif what == "memory":
            memory(place, float(words[0]) if words else 20)
        else:
            compare(place, int(words[0]) if words else 200, int(words[1]) if len(words) > 1 else 5)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
