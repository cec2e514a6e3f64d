"""dm-web in the foreground: binds, says where it listens, serves until a signal ends it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from dmtools.control.entry import Pipeline
from dmtools.settings import Settings
from dmtools.web.app import Setup, StatusPage
from dmtools.web.serving import Diary, HttpServer, refuse_open_host, until_a_signal


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
    setup = Setup(settings, *found, scope, Diary(settings, "dm-web").write, secure=behind_proxy)
    site = StatusPage(setup)
    server = HttpServer(site.wsgi, *place, settings.web.threads)
    try:
        url = server.start()
        setup.log(f"listening on {url}")
        ready(url)
        if problem := site.look():
            up = "the page is up, and shows figures once it can"
            print(f"dm-web: the database can't be read: {problem}; {up}", file=sys.stderr, flush=True)
        until_a_signal()
    finally:
        server.stop()
        site.close()
