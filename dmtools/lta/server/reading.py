"""A request -> an ask: fields of the path, parameters or a JSON body, each of its type."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from dmtools.lta.api import Ask, Wrong

BODY_BYTES = 16 << 20
_DRAINED = 512 << 20
_PIECE = 64 << 10


class TooLarge(Exception):
    """The body has more than BODY_BYTES."""


def ask_of(kind: type[Ask], environ: dict[str, Any], fields: dict[str, str]) -> Ask:
    """The ask. Raises Wrong, TooLarge."""
    if kind.METHOD == "GET":
        return _converted(kind, {**_parameters(kind, str(environ.get("QUERY_STRING", ""))), **fields}, strict=False)
    if environ.get("QUERY_STRING"):
        raise Wrong("a POST has no parameters in its address; they go into the JSON body")
    body = _decoded(_read(environ))
    if clash := body.keys() & fields.keys():
        raise Wrong(f"{min(clash)} stands in the address, not in the body")
    placed = {name: msgspec.convert(value, hint, strict=False) for name, value, hint in _typed(kind, fields)}
    return _converted(kind, {**body, **placed}, strict=True)


def _typed(kind: type[Ask], fields: dict[str, str]) -> Iterable[tuple[str, str, Any]]:
    hints = _hints(kind)
    for name, value in fields.items():
        try:
            msgspec.convert(value, hints[name], strict=False)
        except msgspec.ValidationError as problem:
            raise Wrong(f"{name} in the address: {problem}") from None
        yield name, value, hints[name]


def _converted(kind: type[Ask], values: dict[str, Any], *, strict: bool) -> Ask:
    try:
        return msgspec.convert(values, kind, strict=strict)
    except (msgspec.ValidationError, UnicodeError) as problem:
        raise Wrong(str(problem)) from None


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
        raise Wrong(f"the body is no JSON: {problem}") from None
    if not isinstance(found, dict):
        raise Wrong("the body must be a JSON object")
    return found


def _parameters(kind: type[Ask], query: str) -> dict[str, Any]:
    """Lists are repeated parameters; what is no list comes once."""
    lists = {name for name, hint in _hints(kind).items() if _is_list(hint)}
    found: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=5000)
    except ValueError as problem:
        raise Wrong(f"the parameters can't be read: {problem}") from None
    for name, value in pairs:
        if name in lists:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise Wrong(f"the parameter {name} stands twice")
        else:
            found[name] = value
    return found


@cache
def _hints(kind: type[Ask]) -> dict[str, Any]:
    found = typing.get_type_hints(kind, include_extras=True)
    return {name: hint for name, hint in found.items() if name in kind.__struct_fields__}


def _is_list(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    return origin is tuple or (origin is typing.Annotated and _is_list(typing.get_args(hint)[0]))


def _read(environ: dict[str, Any]) -> bytes:
    given = str(environ.get("CONTENT_LENGTH") or "")
    if given and (not given.isdecimal() or int(given) > BODY_BYTES):
        raise TooLarge
    if not given and not environ.get("wsgi.input_terminated"):
        return b""
    left = int(given) if given else BODY_BYTES + 1
    pieces: list[bytes] = []
    while left > 0 and (piece := environ["wsgi.input"].read(min(left, _PIECE))):
        pieces.append(piece)
        left -= len(piece)
    if not given and left <= 0:
        raise TooLarge
    return b"".join(pieces)


def drain(environ: dict[str, Any]) -> None:
    """Reads what a refused request sends, a little at a time, so that its sender sees the answer; nothing is kept."""
    given = str(environ.get("CONTENT_LENGTH") or "")
    left = min(int(given), _DRAINED) if given.isdecimal() else 0
    if environ.get("wsgi.input_terminated") and not given:
        left = _DRAINED
    try:
        while left > 0 and (piece := environ["wsgi.input"].read(min(left, _PIECE))):
            left -= len(piece)
    except (OSError, ValueError):
        return
