"""lta-rest-server in the foreground: binds, says where it listens, serves until a signal ends it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cheroot.ssl.builtin import BuiltinSSLAdapter

from dmtools.command.run import Refused
from dmtools.ledger import open_ledger
from dmtools.lta.server.application import Application
from dmtools.settings import Settings
from dmtools.web.serving import Diary, HttpServer, refuse_open_host, until_a_signal

NAME = "lta-rest-server"
THREADS = 8


class _Https(BuiltinSSLAdapter):
    """TLS whose handshake is made by the thread that serves the connection: a silent client holds up nobody else."""

    def wrap(self, sock: Any) -> tuple[Any, dict[str, Any]]:
        """The socket, and what WSGI is told of it."""
        return self.context.wrap_socket(sock, do_handshake_on_connect=False, server_side=True), self.get_environ(sock)

    def get_environ(self, _sock: Any = None) -> dict[str, Any]:
        """Nothing of the certificate: who asks is told by the token."""
        return {"wsgi.url_scheme": "https", "HTTPS": "on"}


def https(cert: Path | None, key: Path | None) -> _Https | None:
    """TLS with a certificate and its key; None for plain http. Raises Refused."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise Refused("--cert and --key belong together: the certificate and its private key, PEM files")
    try:
        found = _Https(str(cert), str(key))
        found.context.minimum_version = ssl.TLSVersion.TLSv1_2
    except (OSError, ssl.SSLError) as problem:
        raise Refused(f"--cert {cert} and --key {key} can't be used: {problem}") from None
    return found


def serve(
    settings: Settings, place: tuple[str, int], tls: _Https | None, *, behind_proxy: bool, ready: Callable[[str], None]
) -> None:
    """Serves until SIGTERM or SIGINT raises Stopped here. Raises Refused, Unavailable when it may not or can't listen."""
    if tls is None:
        refuse_open_host(place[0], behind_proxy=behind_proxy)
    diary = Diary(settings, NAME)
    ledger = open_ledger(settings)
    server = HttpServer(Application(ledger, settings, diary.write).wsgi, *place, THREADS, tls=tls, body_bytes=0)
    try:
        url = server.start()
        diary.write(f"listening on {url}")
        ready(url)
        until_a_signal()
    finally:
        server.stop()
        ledger.close()
