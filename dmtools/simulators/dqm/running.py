"""`dm-sim dqm` in the foreground: the server and the clockwork in one loop, until a signal ends it."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

from aiohttp import web

from dmtools.simulators.dqm.clockwork import Clockwork, Pace
from dmtools.simulators.dqm.cluster import PLAYBACK, PRODUCTION
from dmtools.simulators.dqm.server import Server
from dmtools.simulators.dqm.store import Store
from dmtools.simulators.faults import FaultsFile
from dmtools.simulators.process import Seat, Signals, port_of


def serve(home: Path, pace: Pace, port: int, seed: int | str, *, still: bool) -> None:
    """Serves until SIGTERM (exit 143) or SIGINT (130). Raises Unavailable when the name or the port is taken."""
    signals = Signals()
    seat = Seat(home, "dqm")
    clockworks = [Clockwork(cluster, Store(), pace, seed) for cluster in (PRODUCTION, PLAYBACK)]
    app = Server(clockworks, seat.token, FaultsFile.counted_here(seat.faults)).application()
    loop = asyncio.new_event_loop()
    with port_of("dqm", port):
        at = loop.run_until_complete(_listen(app, port))
    turning = []
    for one in () if still else clockworks:
        one.begin()
        turning.append(loop.create_task(one.turn()))
        turning[-1].add_done_callback(lambda task: _stuck(task, signals))
    threading.Thread(target=loop.run_forever, daemon=True, name="dqm").start()
    seat.announce(f"http://127.0.0.1:{at}")
    seat.stay(signals)


def _stuck(task: asyncio.Task[None], signals: Signals) -> None:
    """A clockwork never ends by itself."""
    print(f"dm-sim: the clockwork stopped: {task.exception()!r}", file=sys.stderr, flush=True)
    signals.stop(1)


async def _listen(app: web.Application, port: int) -> int:
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    return int(runner.addresses[0][1])
