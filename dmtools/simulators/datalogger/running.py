"""`dm-sim datalogger` in the foreground: the logger's page answers until a signal ends it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import bottle

from dmtools.simulators.datalogger.acl import Logger
from dmtools.simulators.datalogger.spoiling import spoiled
from dmtools.simulators.faults import FaultsFile, subjects
from dmtools.simulators.fts import wire
from dmtools.simulators.http import Http
from dmtools.simulators.process import Seat, Signals, port_of

PAGE = "/cgi-bin/acl.pl"


def serve(home: Path, logger: Logger, port: int) -> None:
    """Serves until SIGTERM (exit 143) or SIGINT (130). Raises Unavailable when the name or the port is taken."""
    signals = Signals()
    seat = Seat(home, "datalogger")
    faults = FaultsFile.counted_here(seat.faults)
    asked: deque[str] = deque(maxlen=10_000)
    http = Http("datalogger", port, wire.application(_routes(logger, faults, asked), seat.token), faults)
    with port_of("datalogger", port):
        http.prepare()
    seat.announce(http.start())
    seat.stay(signals)


def _routes(logger: Logger, faults: FaultsFile, asked: deque[str]) -> list[wire.Route]:
    def page() -> Any:
        query = str(bottle.request.query_string)
        asked.append(query)
        bottle.response.content_type = "text/html"
        name, _, command = query.partition("=")
        answer = logger.answer(unquote_plus(command) if name == "acl" else "")
        return _streamed(spoiled(answer, faults, subjects("GET", PAGE, query)))

    return [("GET", PAGE, page), ("GET", "/sim/asked", lambda: wire.answer(list(asked)))]


def _streamed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from pieces
