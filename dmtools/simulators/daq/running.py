"""`dm-sim daq` in the foreground: the DAQ writes in a thread, the server answers, until a signal ends both."""

from __future__ import annotations

import random
import sys
import threading
from pathlib import Path

from dmtools.simulators.daq.writer import FULL, Daq, Pace
from dmtools.simulators.faults import FaultsFile
from dmtools.simulators.fts import wire
from dmtools.simulators.fts.model import Refused
from dmtools.simulators.http import Http
from dmtools.simulators.process import Seat, Signals, port_of

END_SECONDS = 5.0


def serve(home: Path, disks: list[Path], pace: Pace, port: int, seed: int | None) -> None:
    """Serves until SIGTERM (exit 143) or SIGINT (130). Raises Unavailable when the name or the port is taken."""
    signals = Signals()
    seat = Seat(home, "daq")
    dice = random.Random(seed)  # noqa: S311 - detector data, no secret
    daq = Daq(disks, seat.directory / "daq.written", FaultsFile.counted_here(seat.faults), pace, dice)
    http = Http("daq", port, wire.application(_routes(daq), seat.token), daq.faults)
    with port_of("daq", port):
        http.prepare()
    writer = threading.Thread(target=_write, args=(daq, signals), daemon=True, name="daq")
    seat.announce(http.start())
    writer.start()
    seat.stay(signals, daq.stopped.set, lambda: writer.join(END_SECONDS))


def _write(daq: Daq, signals: Signals) -> None:
    try:
        daq.write()
    except OSError as problem:
        print(f"dm-sim: the DAQ can't write: {problem}", file=sys.stderr, flush=True)
        signals.stop(1)


def _routes(daq: Daq) -> list[wire.Route]:
    def fill(name: str) -> bytes:
        found = [disk for disk in daq.disks if disk.name == name]
        if not found:
            raise Refused(404, f"no disk is called {name}; there are: {', '.join(disk.name for disk in daq.disks)}")
        if (found[0] / FULL).exists() or not daq.fill(found[0]):
            raise Refused(409, f"{name} is full, or is being filled")
        return wire.answer(daq.state())

    return [
        ("GET", "/sim/files", lambda: wire.answer(daq.written())),
        ("GET", "/sim/disks", lambda: wire.answer(daq.state())),
        ("POST", "/sim/fill/<name>", fill),
    ]
