"""`dm-sim fts` in the foreground: one or both servers in this process, until a signal ends it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from dmtools.settings import Settings
from dmtools.simulators.fts.server import Choices, FtsServer
from dmtools.simulators.process import Seat, Signals, port_of

NAMES = ("fts1", "fts2")


def serve(settings: Settings, names: tuple[str, ...], port: int | None, choices: Choices) -> None:
    """Serves until SIGTERM (exit 143) or SIGINT (130). Raises Unavailable when a name or a port is taken."""
    signals = Signals()
    sys.setswitchinterval(0.001)  # a request must not wait long for the copying threads
    servers: list[FtsServer] = []
    try:
        for number, name in enumerate(names):
            wanted = settings.port(name) if port is None else port and port + number
            servers.append(_start(settings.home, name, msgspec.structs.replace(choices, port=wanted)))
        code = signals.wait()
    finally:
        for server in servers:
            server.stop()
    sys.stdout.flush()
    os._exit(code)  # idle connections' threads would hold up the end


def _start(home: Path, name: str, choices: Choices) -> FtsServer:
    server = FtsServer(Seat(home, name, "stop that one first, or use --name for another"), choices)
    with port_of(name, choices.port):
        server.start()
    return server
