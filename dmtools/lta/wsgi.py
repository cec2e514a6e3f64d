"""lta-rest-server for a web server that speaks WSGI: `dmtools.lta.wsgi:application`.

HOME comes from DMTOOLS_HOME (or DMTOOLS_CONFIG), of the process's environment or of the web server's (`SetEnv`). The web server
must hand on the header Authorization: Apache does with `WSGIPassAuthorization On`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmtools.lta.server.application import Application

_found: dict[int, Application] = {}
_lock = threading.Lock()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers a request; the first one of a process opens the database."""
    from dmtools.ledger import LedgerUnavailable
    from dmtools.settings import SettingsError
    from dmtools.web.serving import with_headers

    try:
        answering = _application(environ)
    except (LedgerUnavailable, SettingsError) as problem:
        print(f"lta-rest-server: {problem}", file=environ["wsgi.errors"])
        body = b'{"status":503,"error":"Service Unavailable","why":"it can not start; the log of the web server says why"}'
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Retry-After", "10")]
        start_response("503 Service Unavailable", headers)
        return [body]
    return with_headers(answering.wsgi)(environ, start_response)


def _application(environ: dict[str, Any]) -> Application:
    with _lock:
        if os.getpid() not in _found:  # a forked process opens the database for itself
            _found[os.getpid()] = _open(environ)
        return _found[os.getpid()]


def _open(environ: dict[str, Any]) -> Application:
    from dmtools.ledger import open_ledger
    from dmtools.lta.server.application import Application
    from dmtools.lta.server.running import NAME
    from dmtools.settings import load
    from dmtools.web.serving import Diary

    named = {name: environ.get(name) or os.environ.get(name) for name in ("DMTOOLS_CONFIG", "DMTOOLS_HOME")}
    config, home = (Path(str(value)) if value else None for value in named.values())
    settings = load(config, home)
    return Application(open_ledger(settings), settings, Diary(settings, NAME).write)
