"""The server's description of itself (OpenAPI 3.1), made of the asks."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from dmtools import __version__
from dmtools.ledger.journal import States
from dmtools.lta.api import Ask
from dmtools.lta.books.registry import FUNCTIONS
from dmtools.lta.states import DIRECTORY_STATES, DISK_STATES, ERRAND_STATES, STATES
from dmtools.lta.wire import ROOT

# Whose states the fields of an ask, or of a part of one, name.
_STATES = {
    **dict.fromkeys(("ListBundles", "Claim", "BundleMove"), STATES),
    **dict.fromkeys(("ListErrands", "ClaimErrands", "ErrandMove"), ERRAND_STATES),
    **dict.fromkeys(("ListDisks", "DiskMove"), DISK_STATES),
    **dict.fromkeys(("ListDirectories", "ClaimDirectories", "DirectoryMove"), DIRECTORY_STATES),
}
_REF = "#/components/schemas/{name}"
_REFUSAL = {
    "type": "object",
    "required": ["status", "error", "why"],
    "properties": {"status": {"type": "integer"}, "error": {"type": "string"}, "why": {"type": "string"}},
}
_REFUSALS = {
    400: "It makes no sense: no JSON, a wrong type, an unknown field, a state that doesn't exist. Nothing was changed.",
    401: "No token that is good here.",
    403: "The token's role or site is not enough. Nothing was changed.",
    404: "There is no such thing.",
    409: "It stands otherwise than the ask says: an illegal or late change, another content. Nothing was changed.",
    413: "The body is too large.",
    429: "Too many requests of this token; Retry-After says when the next may come.",
    500: "An error of the server.",
    503: "The database can't be used now; repeat the same order with the same Idempotency-Key.",
}
_ABOUT = (
    "Bundles on their way to a remote archive and back, and what belongs to them. Names are percent-encoded, instants ISO 8601 "
    "in UTC, sizes bytes. A claim is a lease; each write of its holder names the fence that the claim gave. An order may be "
    "repeated with the same Idempotency-Key: it is carried out once, and gets the same answer each time."
)


def description() -> dict[str, Any]:
    """The whole document."""
    kinds = [*FUNCTIONS, *{kind.ANSWER for kind in FUNCTIONS}]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    for name, states in _STATES.items():
        _name_states(components[name]["properties"], states)
    names = dict(zip(kinds, (schema["$ref"].rpartition("/")[2] for schema in schemas), strict=True))
    paths: dict[str, Any] = _special()
    for kind in FUNCTIONS:
        schema = components[names[kind]]
        paths.setdefault(ROOT + kind.PATH, {})[kind.METHOD.lower()] = _operation(kind, schema, names[kind.ANSWER])
    used = {name: schema for name, schema in components.items() if name not in {names[kind] for kind in FUNCTIONS}}
    found = {
        "openapi": "3.1.0",
        "info": {"title": "lta-rest-server", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": {**used, "Refusal": _REFUSAL},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }
    anchored: dict[str, Any] = _anchored(found)
    return anchored


def _name_states(properties: dict[str, Any], states: States) -> None:
    """The states that exist, instead of any word."""
    word = {"type": "string", "enum": list(states.names())}
    for field in ("before", "to"):
        if field in properties:
            properties[field] = word
    if "states" in properties:
        properties["states"] = {**properties["states"], "items": word}


def _anchored(value: Any) -> Any:
    """Python's end of a text is written otherwise in JSON Schema."""
    if isinstance(value, dict):
        ends = {key: one.replace(r"\Z", "$") for key, one in value.items() if key == "pattern" and isinstance(one, str)}
        return {**{key: _anchored(one) for key, one in value.items()}, **ends}
    return [_anchored(one) for one in value] if isinstance(value, list) else value


def _operation(kind: type[Ask], schema: dict[str, Any], answer: str) -> dict[str, Any]:
    summary, _, rest = (kind.__doc__ or "").strip().partition("\n")
    properties, required = dict(schema.get("properties", {})), set(schema.get("required", ()))
    inside = re.findall(r"\{(\w+)\}", kind.PATH)
    parameters = [{"name": name, "in": "path", "required": True, "schema": properties.pop(name)} for name in inside]
    about = " ".join(rest.split())
    found: dict[str, Any] = {
        "operationId": kind.__name__,
        "summary": summary,
        "description": f"{about} For: {kind.ROLE}.".strip(),
        "responses": _responses(kind, answer),
    }
    if kind.METHOD == "GET":
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": one} for name, one in properties.items()
        ]
    else:
        body = {"type": "object", "properties": properties, "required": sorted(required & properties.keys())}
        content = {"application/json": {"schema": {**body, "additionalProperties": False}}}
        found["requestBody"] = {"required": bool(body["required"]), "content": content}
        parameters.append(_KEY)
    return {**found, **({"parameters": parameters} if parameters else {})}


_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The name of this order; a repeat with the same one gets the same answer.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,255}$"},
}


def _responses(kind: type[Ask], answer: str) -> dict[str, Any]:
    found: dict[str, Any] = {"200": _json("Done.", _REF.format(name=answer))}
    for status, why in _REFUSALS.items():
        if status == 413 and kind.METHOD == "GET":
            continue
        found[str(status)] = _json(why, _REF.format(name="Refusal"))
    return found


def _json(why: str, ref: str) -> dict[str, Any]:
    return {"description": why, "content": {"application/json": {"schema": {"$ref": ref}}}}


def _special() -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    refusals = {str(n): _json(_REFUSALS[n], _REF.format(name="Refusal")) for n in (400, 401, 403, 404, 429, 500, 503)}
    metrics = {"summary": "The figures as Prometheus reads them", "operationId": "Metrics"}
    health = {"summary": "ok or degraded", "operationId": "Health", "security": []}
    itself = {"summary": "This description", "operationId": "Description", "security": []}
    whole = {"application/json": {"schema": {"type": "object"}}}
    return {
        f"{ROOT}/metrics": {"get": {**metrics, "responses": {"200": {"description": "Done.", "content": text}, **refusals}}},
        "/healthz": {"get": {**health, "responses": {"200": {"description": "It answers.", "content": text}}}},
        f"{ROOT}/openapi.json": {"get": {**itself, "responses": {"200": {"description": "Done.", "content": whole}}}},
    }
