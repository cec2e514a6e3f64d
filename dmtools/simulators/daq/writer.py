"""The DAQ's side of the flags: it fills a disk run by run, marks it full, and goes on to one that was handed back.

A disk is taken when it has no ReadyToTransfer; ReadyForData is removed with the first file. A file is written in place, piece
by piece, as a DAQ does. Each finished file is a line of the record: what a copy of it must be.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from dmtools import clock
from dmtools.simulators.faults import COPY_OPS, FaultsFile

FULL, READY = "ReadyToTransfer", "ReadyForData"
PIECE = 1 << 16


@dataclass(frozen=True)
class Pace:
    """How it writes. Sizes in bytes, `every` in seconds between files; `files` of a disk until it is full; 0: no end."""

    files: int = 20
    file_bytes: int = 100_000
    files_a_run: int = 10
    every: float = 0.2
    disks: int = 0
    notes: bool = False
    dots: bool = False


@dataclass
class Daq:
    """One DAQ over its disks."""

    disks: list[Path]
    record: Path
    faults: FaultsFile
    pace: Pace
    dice: random.Random
    stopped: threading.Event = field(default_factory=threading.Event)
    filled: int = 0
    run: int = 0
    _busy: set[Path] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self) -> None:
        """Fills disk after disk until it is stopped, or has filled as many as it was told to."""
        while not self.stopped.is_set() and (not self.pace.disks or self.filled < self.pace.disks):
            disk = self.free_disk()
            if disk is None:
                self.stopped.wait(0.1)
                continue
            self.fill(disk)

    def free_disk(self) -> Path | None:
        """A disk that may be written: handed back first, then one that never was full."""
        free = [disk for disk in self.disks if disk.is_dir() and not (disk / FULL).exists() and disk not in self._busy]
        return min(free, key=lambda disk: (not (disk / READY).exists(), self.disks.index(disk)), default=None)

    def fill(self, disk: Path) -> bool:
        """Writes runs until the disk is full, then flags it. False: it was stopped before, or somebody fills it already."""
        with self._lock:
            if disk in self._busy:
                return False
            self._busy.add(disk)
        try:
            return self._fill(disk)
        finally:
            self._busy.discard(disk)

    def _fill(self, disk: Path) -> bool:
        (disk / READY).unlink(missing_ok=True)
        left = self.pace.files
        while left > 0:
            self.run += 1
            now = clock.now()
            stamp = now.strftime("%y%m%dT%H%M%S")
            place = disk / f"MIG_{stamp}_run{self.run:05}"
            place.mkdir(exist_ok=True)
            for number in range(min(left, self.pace.files_a_run)):
                if self.stopped.is_set():
                    return False
                self.write_file(place / f"MIG_run{self.run:05}_{number:04}_{stamp}.dat")
                left -= 1
                self.stopped.wait(self.pace.every)
            if self.pace.notes:
                (place / "run_notes.txt").write_text(f"run {self.run}, as the shifter saw it\n")
            if self.pace.dots:
                (place / f".MIG_run{self.run:05}.swp").write_bytes(b"\0" * 16)
        (disk / FULL).touch()
        self.filled += 1
        return True

    def write_file(self, path: Path) -> None:
        """One file, in place; a `slow` or `stall` fault holds its writing up in the middle, `fail` ends it short."""
        fault = self.faults.find([str(path)], COPY_OPS)
        size = self.dice.randint(self.pace.file_bytes // 2, self.pace.file_bytes * 3 // 2)
        total, checksum = 0, 1
        with path.open("wb") as file:
            while total < size:
                piece = detector_data(self.dice, min(PIECE, size - total))
                file.write(piece)
                file.flush()
                total, checksum = total + len(piece), zlib.adler32(piece, checksum)
                if fault is not None and fault.op == "fail":
                    break
                if fault is not None and fault.op in ("slow", "stall"):
                    self.stopped.wait(fault.seconds if fault.seconds is not None else 1.0)
                    fault = fault if fault.op == "slow" else None
        line = {"path": os.fspath(path), "size": total, "checksum": f"adler32:{checksum:08x}", "at": time.time()}
        with self.record.open("a") as record:
            record.write(json.dumps(line) + "\n")

    def state(self) -> list[dict[str, object]]:
        """Each disk: its flags and how many files are on it."""
        return [
            {
                "disk": os.fspath(disk),
                FULL: (disk / FULL).exists(),
                READY: (disk / READY).exists(),
                "files": sum(len(files) for _, _, files in os.walk(disk)) - (disk / FULL).exists() - (disk / READY).exists(),
            }
            for disk in self.disks
        ]

    def written(self) -> list[dict[str, object]]:
        """The record."""
        try:
            return [json.loads(line) for line in self.record.read_text().splitlines()]
        except FileNotFoundError:
            return []


def detector_data(dice: random.Random, size: int) -> bytes:
    """Samples of 16 bits as a digitizer gives them: a noisy pedestal, so that it zips to about a half."""
    noise = dice.randbytes(size // 2 + 1)
    samples = bytearray(size + 2)
    samples[0 : 2 * len(noise) : 2] = noise[: (size + 2) // 2]
    samples[1::2] = b"\x04" * len(samples[1::2])
    return bytes(samples[:size])
