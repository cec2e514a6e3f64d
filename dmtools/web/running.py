"""dm-web in the foreground: binds, says where it listens, serves until a signal ends it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from dmtools.command.log import LogFile
from dmtools.control.entry import Pipeline
from dmtools.settings import Settings
from dmtools.web.app import Setup, StatusPage
from dmtools.web.serving import HttpServer, refuse_open_host


class Diary:
    """HOME/log/dm-web-*.log for a process that outlives its files: each line goes to the file of its time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def write(self, text: str) -> None:
        """One line."""
        file = LogFile(self._settings.home / "log", "dm-web", self._settings.log)
        file.write(text)
        file.close()


def serve(
    settings: Settings,
    found: tuple[dict[str, Pipeline], list[str]],
    scope: Callable[[str], str],
    place: tuple[str, int],
    *,
    behind_proxy: bool,
    ready: Callable[[str], None],
) -> None:
    """Serves until SIGTERM or SIGINT raises Stopped here. Raises Refused, Unavailable when it may not or can't listen."""
    refuse_open_host(place[0], behind_proxy=behind_proxy)
    setup = Setup(settings, *found, scope, Diary(settings).write, secure=behind_proxy)
    site = StatusPage(setup)
    server = HttpServer(site.wsgi, *place, settings.web.threads)
    try:
        url = server.start()
        setup.log(f"listening on {url}")
        ready(url)
        if problem := site.look():
            up = "the page is up, and shows figures once it can"
            print(f"dm-web: the database can't be read: {problem}; {up}", file=sys.stderr, flush=True)
        while True:  # Python sees a signal that came in the last moment before a sleep only after it
            time.sleep(0.5)
    finally:
        server.stop()
        site.close()
