"""FTS3's REST routes on jobs and files: each takes a request apart, asks the tables, answers in the real server's words."""

# ruff: noqa: S608 - the SQL is put together from names of this program; values are always bound.

from __future__ import annotations

from typing import Any

import bottle
import msgspec

from dmtools.simulators.fts import changes
from dmtools.simulators.fts.engine import Engine, at_once
from dmtools.simulators.fts.model import FILE_KEYS, JOB_ACTIVE, JOB_KEYS, Refused, User, now_text
from dmtools.simulators.fts.store import Store, job_dict
from dmtools.simulators.fts.submission import build
from dmtools.simulators.fts.wire import Route, answer, answer_text, body_of, method_of, number

_TERMINAL = {"http_status": "304 Not Modified", "http_message": "The job is in a terminal state"}


class Jobs:
    """What one server answers about jobs, to its one user."""

    def __init__(self, store: Store, engine: Engine, user: User, *, instant: bool) -> None:
        self.store = store
        self.engine = engine
        self.user = user
        self.instant = instant

    def routes(self) -> list[Route]:
        """Method, path and handler of each request on jobs and files."""
        return [
            ("GET", "/jobs", self.list_jobs),
            ("POST", "/jobs", self.submit),
            ("PUT", "/jobs", self.submit),
            ("DELETE", "/jobs/all", self.cancel_all),
            ("DELETE", "/jobs/vo/<vo:path>", self.cancel_all),
            ("GET", "/jobs/<ids>", self.status),
            ("POST", "/jobs/<ids>", self.modify),
            ("DELETE", "/jobs/<ids>", self.cancel),
            ("GET", "/jobs/<job_id>/files", self.files),
            ("GET", "/jobs/<job_id>/dm", self.dm),
            ("GET", "/jobs/<job_id>/files/<file_id>/retries", self.retries),
            ("DELETE", "/jobs/<job_id>/files/<file_ids>", self.cancel_files),
            ("GET", "/jobs/<job_id>/<field>", self.field),
            ("GET", "/files", self.list_files),
        ]

    def submit(self) -> bytes:
        """POST or PUT /jobs."""
        request = bottle.request
        submission = build(body_of(bottle.request), self.user, method_of(bottle.request), self.store.check_duplicates)
        self._refuse_banned(submission.files)
        answered = not request.environ.get("dm.lose")
        if self.instant:
            link = at_once(self.engine.copier, submission.job["overwrite_flag"])
            job_id = self.store.submit(submission, answered, (link, lambda db, n: changes.settle(self.store, db, n)))
        else:
            job_id = self.store.submit(submission, answered)
            self.engine.wake()
        return answer({"job_id": job_id})

    def _refuse_banned(self, files: list[dict[str, Any]]) -> None:
        if not (bans := self.store.bans("se")):
            return
        for row in files:
            for key in ("source_se", "dest_se"):
                if ban := bans.get(row[key]):
                    if not ban["allow_submit"]:
                        raise Refused(403, f"{row[key]} is banned")
                    row["file_state"] = {"SUBMITTED": "ON_HOLD", "STAGING": "ON_HOLD_STAGING"}.get(
                        row["file_state"], row["file_state"]
                    )

    def status(self, ids: str) -> bytes:
        """GET /jobs/ID : an object; GET /jobs/A,B : a list, 207 if one of them is unknown."""
        fields = bottle.request.query.get("files")
        asked = ids.split(",")
        answers = []
        missing = 0
        for job_id in filter(None, asked):
            text = self.store.job_text(job_id, fields)
            if text is None:
                missing += 1
                text = msgspec.json.encode(_not_found(job_id))
            answers.append(text)
        if len(asked) == 1:
            return answer_text(answers[0], 404 if missing else 200)
        return answer_text(b"[" + b",".join(answers) + b"]", 207 if missing else 200)

    def files(self, job_id: str) -> bytes:
        """GET /jobs/ID/files."""
        return answer(self.store.files(self.store.wanted(job_id), list(FILE_KEYS)))

    def dm(self, job_id: str) -> bytes:
        """GET /jobs/ID/dm : nothing, ever."""
        self.store.wanted(job_id)
        return answer([])

    def retries(self, job_id: str, file_id: str) -> bytes:
        """GET /jobs/ID/files/FID/retries."""
        self.store.wanted(job_id)
        return answer(self.store.retries(file_id))

    def field(self, job_id: str, field: str) -> bytes:
        """GET /jobs/ID/FIELD : the bare value."""
        shown = job_dict(self.store.wanted(job_id))
        if field not in shown:
            raise Refused(404, "No such field")
        return answer(shown[field])

    def list_jobs(self) -> bytes:
        """GET /jobs with its filters."""
        query = bottle.request.query
        limit = number(query.get("limit"))
        if limit is not None and not 0 <= limit <= 500:
            raise Refused(400, "The limit must be positive and less or equal than 500")
        if query.get("dlg_id") and query["dlg_id"] != self.user.delegation_id:
            raise Refused(403, "The provided delegation id does not match your delegation id")
        if query.get("user_dn") and query["user_dn"] != self.user.dn:
            raise Refused(400, "The provided DN and delegation id do not correspond to the same user")
        conditions, values = _filters(query, limit)
        jobs = self.store.listed(conditions, values, limit)
        if fields := query.get("fields"):
            chosen = [key for key in fields.split(",") if key in JOB_KEYS]
            jobs = [{key: job[key] for key in chosen} for job in jobs]
        return answer(jobs)

    def list_files(self) -> bytes:
        """GET /files : the files of the unfinished jobs, or of those that end with the same filters as /jobs."""
        query = bottle.request.query
        conditions, values = _filters(query, number(query.get("limit")))
        found = self.store.listed(conditions, values, number(query.get("limit")) or 500)
        return answer([file for job in found for file in self.store.files(self.store.wanted(job["job_id"]), list(FILE_KEYS))])

    def cancel(self, ids: str) -> bytes:
        """DELETE /jobs/A,B : first what can't be canceled, in the order asked, then what is."""
        return self._each(ids, lambda db, row: self.engine.cancel(changes.cancel_job(self.store, db, row["n"])))

    def modify(self, ids: str) -> bytes:
        """POST /jobs/A,B : another priority."""
        body = body_of(bottle.request)
        try:
            priority = int(body["params"]["priority"])
        except (KeyError, TypeError):
            priority = 0
        except ValueError:
            raise Refused(400, "Invalid priority value") from None

        def change(db: Any, row: Any) -> None:
            if priority:
                db.execute("UPDATE jobs SET priority=? WHERE n=?", (priority, row["n"]))
                db.execute("UPDATE files SET priority=? WHERE job=?", (priority, row["n"]))
                self.store.touch(row["n"])

        return self._each(ids, change)

    def _each(self, ids: str, act: Any) -> bytes:
        asked = ids.split(",")
        first: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        with self.store.write() as db:
            for job_id in filter(None, asked):
                row = self.store.job_row(job_id)
                if row is None:
                    first.append(_not_found(job_id))
                elif row["job_state"] not in JOB_ACTIVE:
                    first.append(job_dict(row) | _TERMINAL)
                else:
                    act(db, row)
                    changed.append(job_dict(self.store.wanted(job_id)) | {"http_status": "200 Ok", "http_message": None})
        answers = first + changed
        if len(asked) == 1:
            return answer(answers[0], 404 if answers[0]["http_status"].startswith("404") else 200)
        return answer(answers, 207 if any(answer["http_status"].startswith("404") for answer in answers) else 200)

    def cancel_files(self, job_id: str, file_ids: str) -> bytes:
        """DELETE /jobs/ID/files/1,2 : the states that the files are left in."""
        states = []
        canceled: list[int] = []
        with self.store.write() as db:
            row = self.store.wanted(job_id)
            if row["job_type"] != "N":
                raise Refused(400, f"Multihop or reuse jobs must be cancelled at once ({row['job_type']})")
            for file_id in file_ids.split(","):
                canceled += changes.cancel_files(self.store, db, "file_id=? AND job=?", [file_id, row["n"]], None)
                found = db.execute("SELECT file_state FROM files WHERE file_id=? AND job=?", (file_id, row["n"])).fetchone()
                states.append(found[0] if found else "File does not belong to the job")
            changes.settle(self.store, db, row["n"])
        self.engine.cancel(canceled)
        return answer(states if len(states) > 1 else states[0])

    def cancel_all(self, vo: str | None = None) -> bytes:
        """DELETE /jobs/all and /jobs/vo/VO."""
        if not self.user.root:
            raise Refused(403, "User does not have root privileges")
        with self.store.write() as db:
            of_vo = "" if vo is None else " AND vo_name=?"
            rows = db.execute(f"SELECT n FROM jobs WHERE job_finished IS NULL{of_vo}", [] if vo is None else [vo]).fetchall()
            canceled = [file_id for row in rows for file_id in changes.cancel_job(self.store, db, row["n"])]
        self.engine.cancel(canceled)
        return answer({"affected_files": len(canceled), "affected_dm": 0, "affected_jobs": len(rows)})


def _filters(query: Any, limit: int | None) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    states = query.get("state_in")
    window = _window(query.get("time_window"))
    if states:
        chosen = states.split(",")
        conditions.append(f"job_state IN ({','.join('?' * len(chosen))})")
        values += chosen
        if limit is None and window is not None:
            conditions.append("job_finished >= ?")
            values.append(now_text(window))
    if not states or (limit is None and window is None):
        conditions.append("job_finished IS NULL")
    for key in ("vo_name", "source_se", "dest_se"):
        if query.get(key):
            conditions.append(f"{key} = ?")
            values.append(query[key])
    return conditions, values


def _window(text: str | None) -> float | None:
    """`H` or `H:M` -> seconds; None for anything else."""
    hours, _, minutes = (text or "").partition(":")
    found = number(hours), number(minutes or "0")
    return None if found[0] is None or found[1] is None else found[0] * 3600 + found[1] * 60


def _not_found(job_id: str) -> dict[str, Any]:
    message = f'No job with the id "{job_id}" has been found'
    return {"job_id": job_id, "http_status": "404 Not Found", "http_message": message}
