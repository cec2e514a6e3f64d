"""One embedded FTS server: the engine, its routes and its address."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from dmtools.simulators.faults import FaultsFile
from dmtools.simulators.fts import admin, rest, wire
from dmtools.simulators.fts.changes import Pace
from dmtools.simulators.fts.copying import Copier
from dmtools.simulators.fts.engine import Engine
from dmtools.simulators.fts.store import Store
from dmtools.simulators.http import Http
from dmtools.simulators.process import Seat


class Choices(Struct, frozen=True, kw_only=True):
    """How one server is to behave; see `dm-sim fts --help`."""

    root: Path
    port: int
    vo: str
    pace: Pace = Pace()
    running: int = 8
    link_limit: int = 60
    cancel_delay: float = 0
    instant: bool = False
    operator: bool = True
    check_duplicates: bool = False


class FtsServer:
    """A server under the name of its seat. `start` announces it, `stop` ends it and hands its copies back."""

    def __init__(self, seat: Seat, choices: Choices) -> None:
        self._seat = seat
        self._store = Store(seat.database, check_duplicates=choices.check_duplicates)
        self._faults = FaultsFile(seat.faults, self._store.spend_fault, self._store.keep_faults)
        copier = Copier(choices.root, self._faults)
        self._engine = Engine(
            self._store,
            copier,
            choices.pace,
            running=choices.running,
            link_limit=choices.link_limit,
            cancel_delay=choices.cancel_delay,
        )
        user = admin.user_of(choices.vo, choices.operator)
        jobs = rest.Jobs(self._store, self._engine, user, instant=choices.instant)
        routes = [*admin.Operator(self._store, self._engine, user).routes(), *jobs.routes()]
        self._http = Http(seat.name, choices.port, wire.application(routes, seat.token), self._faults)

    def start(self) -> None:
        """Binds, begins to copy and to answer, announces the address. Raises OSError when the port is taken."""
        self._http.prepare()
        self._engine.start()
        self._seat.announce(self._http.start())

    def stop(self) -> None:
        """Takes the address away, ends the copies, closes the tables for good; the process is to end then."""
        self._seat.leave()
        self._engine.stop()
        self._store.close()
