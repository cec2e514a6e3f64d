"""One FTS3 server through the `fts3` package: every call has a deadline, every answer a kind, nothing is guessed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fts3.rest.client import easy
from fts3.rest.client.exceptions import ClientError, FTS3ClientException, NeedDelegation, NotFound, Unauthorized

from dmtools.transfers.status import BULK, FileStatus, JobStatus
from dmtools.transfers.transport import Duplicate, NoAnswer, Transport


class Away(Exception):
    """The server can't be asked now; nothing is known of what it does."""


class CredentialsRefused(Exception):
    """The server answers, but not to us: the proxy or token has to be renewed. No job was made."""


class SubmitRefused(Exception):
    """The server refused the job as it is (400): it made none. The text is its own."""


class Unknowable(Exception):
    """The answer was lost or makes no sense: the act may have been done or not."""


class FtsServer:
    """A server that answered. Made by `connect`; raises only the five exceptions above."""

    def __init__(self, name: str, url: str, weight: float, context: Any) -> None:
        self.name = name
        self.url = url
        self.weight = weight
        self._context = context
        self._vo: str | None = None
        self._delegated = False

    @property
    def vo(self) -> str:
        """The VO under which the server knows us: job ids follow from it. Asked once; raises Away, CredentialsRefused."""
        if self._vo is None:
            who = self._call(lambda: easy.whoami(self._context))
            vos = who.get("vos") if isinstance(who, dict) else None
            if not vos:
                raise Away(f"{self.name} does not say under which VO it knows us")
            self._vo = str(vos[0])
        return self._vo

    def prepare(self) -> None:
        """What one thread has to do before several submit: the credentials are delegated once. Raises nothing."""
        try:
            self._delegate()
        except (CredentialsRefused, Unknowable):
            return  # each submission says so itself

    def _delegate(self) -> None:
        if self._delegated:
            return
        try:
            easy.delegate(self._context)
        except (NeedDelegation, Unauthorized) as problem:
            raise CredentialsRefused(str(problem)) from None
        except (FTS3ClientException, NoAnswer, ValueError) as problem:
            raise Unknowable(_short(problem)) from None
        self._delegated = True

    def submit(self, files: list[dict[str, Any]], params: dict[str, Any]) -> str:
        """Sends one job; gives its id. Raises Duplicate, SubmitRefused, CredentialsRefused, Unknowable."""
        job = json.dumps({"params": params, "files": files})
        self._delegate()
        try:
            answer = json.loads(self._context.post_json("/jobs", job))
            return str(answer["job_id"])
        except Duplicate:
            raise
        except (NeedDelegation, Unauthorized) as problem:
            raise CredentialsRefused(str(problem)) from None
        except ClientError as problem:
            if str(problem.reason).startswith("Bad request"):
                raise SubmitRefused(str(problem.reason)) from None
            raise Unknowable(str(problem)) from None
        except (FTS3ClientException, NoAnswer, ValueError, KeyError, TypeError) as problem:
            raise Unknowable(_short(problem)) from None

    def statuses(self, jobs: Sequence[str]) -> list[JobStatus]:
        """The states of at most BULK jobs and of all their files, in one request. Raises Away or CredentialsRefused."""
        if len(jobs) > BULK:
            raise ValueError(f"at most {BULK} jobs a request")
        try:
            answer = self._call(lambda: easy.get_jobs_statuses(self._context, list(jobs), list_files=True))
        except NotFound:
            answer = [{"job_id": job, "http_status": "404 Not Found"} for job in jobs]
        items = answer if isinstance(answer, list) else [answer]
        return [found for item in items if isinstance(item, dict) and (found := _job_status(item))]

    def cancel(self, job: str, files: Sequence[int] = ()) -> str:
        """Cancels a job, or only these files of it; gives the state it is in then, "" when the server doesn't know it.

        Raises Away or CredentialsRefused.
        """
        try:
            answer = self._call(lambda: easy.cancel(self._context, job, list(files) or None))
        except NotFound:
            return ""
        if isinstance(answer, dict):
            return str(answer.get("job_state", ""))
        return str(answer[0] if isinstance(answer, list) and answer else answer)

    def numbers(self, job: str) -> dict[str, tuple[str, int]]:
        """(state, the server's number) of each file of a job, by its destination. Raises Away or CredentialsRefused."""
        try:
            files = self._call(lambda: json.loads(self._context.get(f"/jobs/{job}/files")))
        except NotFound:
            return {}
        if not isinstance(files, list):
            raise Away(f"{self.name} does not say which files the job {job} has")
        known = [f for f in files if isinstance(f, dict) and isinstance(f.get("file_id"), int)]
        return {str(f.get("dest_surl", "")): (str(f.get("file_state", "")), f["file_id"]) for f in known}

    def _call(self, act: Any) -> Any:
        try:
            return act()
        except NotFound:
            raise
        except (NeedDelegation, Unauthorized) as problem:
            raise CredentialsRefused(str(problem)) from None
        except (Duplicate, FTS3ClientException, NoAnswer, ValueError) as problem:
            raise Away(f"{self.name} did not answer as an FTS server does: {_short(problem)}") from None


def connect(
    name: str, url: str, weight: float, *, token: str | None, proxy: str | None, capath: str | None, seconds: tuple[float, float]
) -> FtsServer:
    """Asks the server who it is. `seconds`: to connect, and for a whole answer. Raises Away or CredentialsRefused."""
    connect_seconds, call_seconds = seconds
    transport = type("_Timed", (Transport,), {"deadline_seconds": call_seconds})
    try:
        context = easy.Context(
            url,
            ucert=proxy,
            ukey=proxy,
            fts_access_token=token,
            capath=capath,
            connectTimeout=connect_seconds,
            timeout=call_seconds,
            request_class=transport,
        )
    except (NeedDelegation, Unauthorized) as problem:
        raise CredentialsRefused(f"{name}: {problem}") from None
    except (FTS3ClientException, Duplicate, NoAnswer) as problem:
        raise Away(f"{name} at {url} did not answer as an FTS server does: {_short(problem)}") from None
    except (LookupError, TypeError, ValueError, AttributeError):  # it answered JSON, but not of an FTS server
        raise Away(f"{name} at {url} is no FTS server") from None
    except FileNotFoundError as problem:
        raise CredentialsRefused(f"{name}: the proxy {proxy} is not there ({problem})") from None
    except Exception as problem:  # noqa: BLE001 - the client raises bare Exception for an expired or encrypted proxy
        raise CredentialsRefused(f"{name}: {problem}") from None
    if not isinstance(context.endpoint_info, dict) or "api" not in context.endpoint_info:
        raise Away(f"{name} at {url} is no FTS server")
    return FtsServer(name, url, weight, context)


def _job_status(item: dict[str, Any]) -> JobStatus | None:
    job = item.get("job_id")
    if not isinstance(job, str):
        return None
    if str(item.get("http_status", "200")).startswith("404"):
        return JobStatus(job, "", "", ())
    state = item.get("job_state")
    files = item.get("files")
    if not isinstance(state, str) or not isinstance(files, list):
        return None
    found = tuple(
        FileStatus(
            str(f.get("source_surl", "")),
            str(f.get("dest_surl", "")),
            str(f.get("file_state", "")),
            str(f.get("reason") or ""),
            f.get("start_time") is not None,
        )
        for f in files
        if isinstance(f, dict)
    )
    return JobStatus(job, state, str(item.get("reason") or ""), found)


def _short(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:300] or type(problem).__name__
