"""What is not about one job: who asks, delegation, bans, the archive, the server's own tables for tests."""

from __future__ import annotations

import hashlib
import socket
from datetime import timedelta
from typing import Any

import bottle

from dmtools import clock
from dmtools.simulators.fts import changes, timers
from dmtools.simulators.fts.engine import Engine
from dmtools.simulators.fts.model import (
    BASE_ID,
    FILE_KEYS,
    NOT_IN_ARCHIVED_FILE,
    NOT_IN_ARCHIVED_JOB,
    Refused,
    User,
    now_text,
)
from dmtools.simulators.fts.store import Store, job_dict
from dmtools.simulators.fts.wire import Route, answer, body_of, method_of

_BANNED = "Storage banned"


def user_of(vo: str, root: bool) -> User:
    """The one user of a server; the delegation id comes from the name, as in the real server."""
    dn = "/DC=local/DC=dm-sim/CN=operator"
    return User(dn, vo, hashlib.sha1(f"{dn}{vo}".encode(), usedforsecurity=False).hexdigest()[:16], root)


class Operator:
    """The server's answers about itself."""

    def __init__(self, store: Store, engine: Engine, user: User) -> None:
        self.store = store
        self.engine = engine
        self.user = user

    def routes(self) -> list[Route]:
        """Method, path and handler of each request that is not about jobs."""
        return [
            ("GET", "/", self.index),
            ("GET", "/whoami", self.whoami),
            ("GET", "/delegation/<ident>", self.delegation),
            ("PUT", "/delegation/<ident>/credential", self.credential),
            ("DELETE", "/delegation/<ident>", self.undelegate),
            ("GET", "/ban/se", lambda: answer(list(self.store.bans("se").values()))),
            ("POST", "/ban/se", self.ban_se),
            ("DELETE", "/ban/se", self.unban_se),
            ("GET", "/ban/dn", lambda: answer(list(self.store.bans("dn").values()))),
            ("POST", "/ban/dn", self.ban_dn),
            ("DELETE", "/ban/dn", self.unban_dn),
            ("GET", "/archive/<job_id>", self.archived),
            ("GET", "/status/hosts", self.hosts),
            ("GET", "/sim/copies", lambda: answer(self.store.table("copies", dict(bottle.request.query)))),
            ("GET", "/sim/submissions", lambda: answer(self.store.table("submissions", dict(bottle.request.query)))),
            ("POST", "/sim/archive/<job_id>", self.archive_now),
        ]

    def index(self) -> bytes:
        """GET / : versions and links."""
        links = {"whoami": "/whoami", "joblist": "/jobs", "job": "/jobs/{id}", "configaudit": "/config/audit"}
        links |= {"submitschema": "/api-docs/schema/submit", "apidocs": "/api-docs/", "jobsubmit": "/jobs"}
        links |= {"optimizer": "/optimizer/", "archive": "/archive"}
        shown: dict[str, Any] = {f"fts:{name}": {"href": path, "title": name} for name, path in links.items()}
        shown["curies"] = [{"name": "fts", "href": "{rel}", "templated": True}]
        version = dict(zip(("major", "minor", "patch"), (3, 13, 4), strict=True))
        one = {"major": 1, "minor": 0, "patch": 0}
        return answer(
            {"delegation": one, "api": version, "core": None, "schema": one | {"major": 9, "minor": 1}, "_links": shown}
        )

    def whoami(self) -> bytes:
        """GET /whoami."""
        level = dict.fromkeys(("transfer", "datamanagement", "config", "deleg"), "all") if self.user.root else {}
        return answer(
            {
                "user_dn": self.user.dn,
                "dn": [self.user.dn],
                "base_id": str(BASE_ID),
                "voms_cred": [],
                "vos": [self.user.vo],
                "vos_id": [str(self.user.vo_id)],
                "roles": [],
                "level": level or {"transfer": "vo", "datamanagement": "all"},
                "delegation_id": self.user.delegation_id,
                "method": method_of(bottle.request),
                "is_root": self.user.root,
            }
        )

    def delegation(self, ident: str) -> bytes:
        """GET /delegation/ID : always a delegation that lasts."""
        if ident != self.user.delegation_id:
            raise Refused(403, "The requested ID and the credentials ID do not match")
        end = (clock.now() + timedelta(days=3650)).strftime("%Y-%m-%dT%H:%M:%S")
        modern = "fts-" in (bottle.request.get_header("User-Agent") or "")
        return answer({"termination_time": end, "voms_attrs": [] if modern else None})

    def credential(self, ident: str) -> bytes:
        """PUT /delegation/ID/credential : taken and not looked at; nothing here needs it."""
        self.delegation(ident)
        bottle.response.status = 201
        return b""

    def undelegate(self, ident: str) -> bytes:
        """DELETE /delegation/ID."""
        self.delegation(ident)
        bottle.response.status = 204
        return b""

    def archived(self, job_id: str) -> bytes:
        """GET /archive/ID."""
        row = self.store.archived_row(job_id)
        if row is None:
            raise Refused(404, f'No job with the id "{job_id}" has been found in the archive')
        shown = {key: value for key, value in job_dict(row).items() if key not in NOT_IN_ARCHIVED_JOB}
        files = self.store.files(row, [key for key in FILE_KEYS if key not in NOT_IN_ARCHIVED_FILE])
        return answer(shown | {"files": [file | {"current_failures": 0} for file in files]})

    def archive_now(self, job_id: str) -> bytes:
        """POST /sim/archive/ID : the clean-up of a terminal job, now instead of after a week."""
        row = self.store.wanted(job_id)
        if row["job_finished"] is None:
            raise Refused(400, "The job is not in a terminal state")
        with self.store.write() as db:
            timers.archive(self.store, db, row["n"])
        return answer({"job_id": job_id})

    def hosts(self) -> bytes:
        """GET /status/hosts."""
        return answer({socket.gethostname(): self.store.activity()})

    def ban_se(self) -> bytes:
        """POST /ban/se : `cancel` ends what moves from or to the storage, `wait` holds it. Gives the jobs it touched."""
        body = self._order()
        storage, status = body.get("storage"), str(body.get("status") or "cancel").lower()
        if not storage:
            raise Refused(400, "Missing storage parameter")
        if status not in ("cancel", "wait"):
            raise Refused(400, "status can only be cancel or wait")
        if body.get("allow_submit") and status == "cancel":
            raise Refused(400, "allow_submit and status = CANCEL can not be combined")
        where, values = "(source_se=? OR dest_se=?)", [storage, storage]
        with self.store.write() as db:
            row = ("se", storage, "WAIT" if status == "wait" else "CANCEL", int(bool(body.get("allow_submit"))), now_text())
            db.execute("INSERT OR REPLACE INTO bans VALUES (?, ?, ?, ?, ?)", row)
            moving = changes.moving_jobs(db, where, values)
            canceled = []
            if status == "cancel":
                canceled = changes.cancel_files(self.store, db, where, values, _BANNED)
            else:
                changes.hold(self.store, db, storage, held=True)
            for n, _ in moving:
                changes.settle(self.store, db, n)
        self.engine.cancel(canceled)
        return answer([job_id for _, job_id in moving])

    def unban_se(self) -> bytes:
        """DELETE /ban/se?storage= : what was held goes on."""
        self._order(with_body=False)
        storage = bottle.request.query.get("storage")
        if not storage:
            raise Refused(400, "Missing storage parameter")
        with self.store.write() as db:
            db.execute("DELETE FROM bans WHERE kind='se' AND name=?", (storage,))
            changes.hold(self.store, db, storage, held=False)
        self.engine.wake()
        bottle.response.status = 204
        return b""

    def ban_dn(self) -> bytes:
        """POST /ban/dn : kept, and without effect: this server has one user, who can't ban himself."""
        user_dn = self._order().get("user_dn")
        if not user_dn:
            raise Refused(400, "Missing dn parameter")
        if user_dn == self.user.dn:
            raise Refused(409, "The user tried to ban (his|her)self")
        with self.store.write() as db:
            db.execute("INSERT OR REPLACE INTO bans VALUES ('dn', ?, NULL, 0, ?)", (user_dn, now_text()))
        return answer([])

    def unban_dn(self) -> bytes:
        """DELETE /ban/dn?user_dn=."""
        self._order(with_body=False)
        with self.store.write() as db:
            db.execute("DELETE FROM bans WHERE kind='dn' AND name=?", (bottle.request.query.get("user_dn"),))
        bottle.response.status = 204
        return b""

    def _order(self, *, with_body: bool = True) -> dict[str, Any]:
        if not self.user.root:
            raise Refused(403, "Not enough permissions")
        body = body_of(bottle.request) if with_body else {}
        if not isinstance(body, dict):
            raise Refused(400, "Expecting a dictionary")
        return body
