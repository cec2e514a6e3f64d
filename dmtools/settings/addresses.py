"""Addresses of pages and servers: what is wrong with one that is none."""

from __future__ import annotations

from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def problem(url: str, none: str, signed: str, *, page: bool = False) -> str:
    """Why it is no address, empty when it is one. `none`: what to say of another thing; `signed`: of a user name in it.

    `page`: a path must be there.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as wrong:
        return f"{url!r} is no URL: {wrong}"
    if parts.scheme not in ("http", "https") or not host or (page and parts.path in ("", "/")):
        return f"{url!r} {none}"
    return signed if "@" in parts.netloc else ""
