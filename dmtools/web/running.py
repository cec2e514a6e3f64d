"""dm-web in the foreground: binds, says where it listens, serves until a signal ends it."""

from __future__ import annotations

import threading
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
        threading.Event().wait()
    finally:
        server.stop()
        site.close()
