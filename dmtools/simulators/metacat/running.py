"""`dm-sim metacat` in the foreground: the catalogue answers until a signal ends it."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from dmtools import durable
from dmtools.simulators.faults import FaultsFile
from dmtools.simulators.http import Http
from dmtools.simulators.metacat import tokens
from dmtools.simulators.metacat.routes import application
from dmtools.simulators.metacat.shelf import Shelf
from dmtools.simulators.process import Seat, Signals, port_of


def serve(home: Path, namespace: str, token_seconds: float, port: int) -> None:
    """Serves until SIGTERM (exit 143) or SIGINT (130). Raises Unavailable when the name or the port is taken."""
    signals = Signals()
    seat = Seat(home, "metacat")
    faults = FaultsFile.counted_here(seat.faults)
    shelf = Shelf(seat.directory / "metacat.kept.json").load()
    owner = {"name": namespace, "owner_user": "dmtools", "owner_role": None, "description": "made with the simulator"}
    shelf.namespaces.setdefault(namespace, owner)
    asked: deque[str] = deque(maxlen=10_000)
    http = Http("metacat", port, application(shelf, seat.token, asked), faults)
    with port_of("metacat", port):
        http.prepare()
    token = tokens.make(seat.token, "dmtools", token_seconds)
    durable.write_file(seat.directory / "metacat.token", token.encode() + b"\n", mode=0o600)
    seat.announce(http.start())
    seat.stay(signals)
