"""The requests that MetaCat's client makes, and what it makes of the answers."""

from __future__ import annotations

import functools
import hmac
import json
from collections import deque
from collections.abc import Callable
from typing import Any

import bottle

from dmtools.simulators.metacat import tokens
from dmtools.simulators.metacat.shelf import Refused, Shelf

WEEK = 7 * 86_400.0
Handler = Callable[[], Any]


def application(shelf: Shelf, secret: str, asked: deque[str]) -> bottle.Bottle:
    """The WSGI application. All routes but those of signing in want a token of ours."""
    app = bottle.Bottle(autojson=False)
    app.default_error_handler = _http_error
    calls = Calls(shelf, secret)
    for path, method, handler in calls.routes():
        app.route(path, method, functools.partial(_answer, calls, handler, asked, wants_token=not path.startswith("/auth/auth")))
    app.route("/sim/asked", "GET", lambda: _json(list(asked)))
    return app


def _answer(calls: Calls, handler: Handler, asked: deque[str], *, wants_token: bool) -> bytes:
    asked.append(f"{bottle.request.method} {bottle.request.path}?{bottle.request.query_string}".rstrip("?"))
    try:
        if wants_token:
            calls.sign_in()
        with calls.shelf.lock:
            return _json(handler())
    except Refused as problem:
        bottle.response.status = problem.status
        bottle.response.content_type = "text/plain"
        return str(problem).encode()


class _Stream(list[Any]):
    """Answered as a sequence of JSON texts, each behind a record separator."""


def _json(value: Any) -> bytes:
    if isinstance(value, _Stream):
        bottle.response.content_type = "application/json-seq"
        return b"".join(b"\x1e" + json.dumps(one).encode() + b"\n" for one in value)
    if isinstance(value, str):
        bottle.response.content_type = "text/plain"
        return value.encode()
    bottle.response.content_type = "text/json"
    return json.dumps(value).encode()


def _http_error(error: bottle.HTTPError) -> str:
    bottle.response.content_type = "text/plain"
    return str(error.body) if error.status_code < 500 else "Internal Server Error"


def _body() -> Any:
    try:
        return json.loads(bottle.request.body.read())
    except ValueError:
        raise Refused(400, "The body is no JSON") from None


def _yes(key: str) -> bool:
    return bool(bottle.request.query.get(key) == "yes")


def _said(key: str) -> str:
    found = bottle.request.query.get(key)
    if not found:
        raise Refused(400, f"{key} is wanted")
    return str(found)


class Calls:
    """One method a call of the client."""

    def __init__(self, shelf: Shelf, secret: str) -> None:
        self.shelf, self.secret = shelf, secret
        self.user = ""

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Path, method, and what answers."""
        shelf = self.shelf
        return [
            ("/auth/auth", "POST", self.login),
            ("/auth/verify", "GET", lambda: {"user": self.user}),
            ("/data/version", "GET", lambda: "4.1 (dm-sim metacat)"),
            ("/data/namespace", "GET", lambda: self.namespace(_said("name"))),
            ("/data/namespaces", "GET", lambda: list(shelf.namespaces.values())),
            ("/data/create_namespace", "GET", self.create_namespace),
            ("/data/dataset", "GET", lambda: shelf.shown_dataset(_said("dataset"))),
            ("/data/datasets", "GET", lambda: [shelf.shown_dataset(name) for name in shelf.datasets]),
            ("/data/dataset_counts", "GET", lambda: {"file_count": len(shelf.dataset(_said("dataset"))["files"])}),
            ("/data/dataset_files", "GET", self.dataset_files),
            ("/data/create_dataset", "POST", lambda: shelf.make_dataset(_body(), self.user)),
            ("/data/declare_files", "POST", self.declare),
            ("/data/add_files", "POST", lambda: {"files_added": shelf.add(_said("dataset"), self.which())}),
            ("/data/remove_files", "POST", self.remove),
            ("/data/file", "GET", lambda: self.shown([shelf.file(dict(bottle.request.query))])[0]),
            ("/data/files", "POST", self.files),
            ("/data/update_file", "POST", self.update),
            ("/data/retire_file", "POST", self.retire),
            ("/data/delete_file", "POST", self.delete),
            ("/data/query", "POST", lambda: self.shown(list(shelf.query(bottle.request.body.read().decode())))),
        ]

    def sign_in(self) -> None:
        """Raises Refused without a token of ours that lives."""
        given = bottle.request.get_header("X-Authentication-Token") or ""
        user = tokens.user_of(self.secret, given)
        if user is None:
            raise Refused(401, "Authentication required: no token, or one that is over or not of this server")
        self.user = user

    def login(self) -> Any:
        """USER:SECRET, where the secret is the token of the address file; the token comes in a header."""
        user, _, given = bottle.request.body.read().decode("utf-8", "replace").partition(":")
        if bottle.request.query.get("method") != "ldap" or not hmac.compare_digest(given.encode(), self.secret.encode()):
            raise Refused(401, "Authentication failed")
        bottle.response.set_header("X-Authentication-Token", tokens.make(self.secret, user, WEEK))
        return "OK"

    def namespace(self, name: str) -> Any:
        """Raises Refused."""
        if name not in self.shelf.namespaces:
            raise Refused(404, f"Namespace {name} not found")
        return self.shelf.namespaces[name]

    def create_namespace(self) -> Any:
        """A namespace of the user's. Raises Refused."""
        name = _said("name")
        if name in self.shelf.namespaces:
            raise Refused(409, "Already exists")
        self.shelf.namespaces[name] = {"name": name, "owner_user": self.user, "owner_role": None, "description": ""}
        self.shelf.save()
        return self.shelf.namespaces[name]

    def dataset_files(self) -> Any:
        """One a line: of this call alone the client wants a stream."""
        return _Stream(self.shown([self.shelf.files[name] for name in self.shelf.dataset(_said("dataset"))["files"]]))

    def declare(self) -> Any:
        """New files."""
        return self.shelf.declare(_said("dataset"), _body(), self.user, dry_run=_yes("dry_run"))

    def which(self) -> list[dict[str, Any]]:
        """The files that a body names; those without a namespace are of its own."""
        told = _body()
        return [{"namespace": told.get("namespace"), **one} for one in told.get("file_list") or told.get("files") or ()]

    def remove(self) -> Any:
        """Files out of a dataset."""
        told = _body()
        dataset = f"{told.get('dataset_namespace')}:{told.get('dataset_name')}"
        return {"files_removed": self.shelf.remove(dataset, told.get("file_list") or [])}

    def files(self) -> Any:
        """Those of these that are there."""
        found = []
        for one in _body():
            try:
                found.append(self.shelf.file(one))
            except Refused:
                continue
        return self.shown(found)

    def shown(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As the query asks for them."""
        metadata = _yes("with_metadata") or _yes("with_meta")
        with_ = {"metadata": metadata, "datasets": _yes("with_datasets"), "provenance": _yes("with_provenance")}
        return [self.shelf.shown_file(one, **with_) for one in found]

    def update(self) -> Any:
        """Size, checksums and metadata of a file; as told, replaced or added."""
        told = _body()

        def change(found: dict[str, Any]) -> None:
            for key in ("checksums", "metadata"):
                if key in told:
                    found[key] = told[key] if told.get("mode") == "replace" else {**found[key], **told[key]}
            found["size"] = told.get("size", found["size"])

        return self.shelf.update(told, change)

    def retire(self) -> Any:
        """A file is retired, or is so no more."""
        told = _body()
        return self.shelf.update(told, lambda found: found.update(retired=bool(told.get("retire"))))

    def delete(self) -> Any:
        """A file is deleted."""
        self.shelf.delete(_body())
        return {}
