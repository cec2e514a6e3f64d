"""dqm-server in the foreground: binds, says where it listens, serves until a signal ends it."""

from __future__ import annotations

from collections.abc import Callable

from dmtools.dqm import places
from dmtools.dqm.serving.application import Application
from dmtools.dqm.serving.watching import Watcher
from dmtools.settings import Settings
from dmtools.web.serving import Diary, HttpServer, refuse_open_host, until_a_signal

NAME = "dqm-server"
DANGER = "change what is shown"
THREADS = 4  # no more: nothing waits for a disk or a database, so they would only wait for each other


def serve(settings: Settings, place: tuple[str, int], *, behind_proxy: bool, ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT raises Stopped here. Raises Refused, Unavailable when it may not or can't listen."""
    refuse_open_host(place[0], behind_proxy=behind_proxy, danger=DANGER)
    diary = Diary(settings, NAME)
    watcher = Watcher(places.public(settings.home), settings.dqm, diary.write)
    application = Application(settings.dqm, watcher, diary.write)
    watcher.changed = application.events.wake
    server = HttpServer(application.wsgi, *place, THREADS, at_once=application.at_once)
    try:
        url = server.start()
        watcher.start()
        application.events.start()
        diary.write(f"listening on {url}")
        ready(url + settings.dqm.prefix)
        until_a_signal()
    finally:
        watcher.stop()
        application.events.stop()
        server.stop()
