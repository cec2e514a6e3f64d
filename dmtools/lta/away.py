"""Asks carried out by a server over HTTPS: to a command the same as its own tables."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from dmtools.command.run import Refused, Unavailable
from dmtools.lta import wire
from dmtools.lta.api import Ask, Books, Conflict, NotAllowed, Problem, Unknown, Wrong
from dmtools.lta.distrust import unknown_token, untrusted
from dmtools.settings import Settings, read_secret

_PROBLEMS: dict[int, type[Problem]] = {400: Wrong, 403: NotAllowed, 404: Unknown, 409: Conflict, 413: Wrong}
_FIELD = re.compile(r"\{(\w+)\}")


def away(settings: Settings) -> Books:
    """The books of the server of [lta] url. Raises SettingsError, Refused for a token or an address that can't be used."""
    lta = settings.lta
    file = settings.path(lta.token_file)
    token = read_secret(file, "token of [lta] token_file")
    try:
        trust, seconds = str(settings.path(lta.ca_file)) if lta.ca_file else "", float(lta.server_seconds)
        return Away(wire.Wire(lta.url, token, trust, seconds=seconds, patience=seconds), file, trust)
    except (OSError, wire.Refused) as problem:
        raise Refused(f"[lta] url {lta.url} can't be used: {problem}") from None


class Away:
    """The books of a server."""

    def __init__(self, server: wire.Wire, token_file: Path = Path(), ca_file: str = "") -> None:
        self._wire, self._token_file, self._ca_file = server, token_file, ca_file

    def do(self, ask: Ask) -> Struct:
        """The answer. Raises what `api.Books.do` does, Unavailable (it is away), Refused (it or we are not trusted)."""
        path, rest = address(ask)
        try:
            found = self._wire.get(path, rest) if ask.METHOD == "GET" else self._wire.post(path, rest)
            return msgspec.convert(found, ask.ANSWER, strict=True)
        except wire.Away as problem:
            raise Unavailable("server away", self._wire.url, str(problem), "the next pass asks again") from None
        except wire.Untrusted as problem:
            raise untrusted(self._wire.url, self._ca_file, problem) from None
        except wire.Refused as problem:
            raise self._told(problem) from None
        except msgspec.ValidationError as problem:
            why = f"its answer to {type(ask).__name__} can't be read: {problem}"
            raise Unavailable("server away", self._wire.url, why, "is it of the same release as this program?") from None

    def _told(self, problem: wire.Refused) -> Exception:
        if problem.status == 401:
            return unknown_token(self._wire.url, self._token_file, "--role ROLE --site SITE NAME")
        return _PROBLEMS.get(problem.status, Wrong)(str(problem))


@functools.cache
def _fields(kind: type[Ask]) -> tuple[str, ...]:
    return tuple(_FIELD.findall(kind.PATH))


def address(ask: Ask) -> tuple[str, dict[str, Any]]:
    """The path of the ask, and what doesn't stand in it."""
    rest = msgspec.to_builtins(ask)
    path = ask.PATH
    for name in _fields(type(ask)):
        path = path.replace(f"{{{name}}}", wire.segment(rest.pop(name)))
    return path, rest
