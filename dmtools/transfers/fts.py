"""One FTS3 server through the `fts3` package: every call has a deadline, every answer a kind, nothing is guessed."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import requests
from fts3.rest.client import easy
from fts3.rest.client.exceptions import BadEndpoint, ClientError, FTS3ClientException, NeedDelegation, NotFound, Unauthorized
from fts3.rest.client.request import Request

from dmtools.transfers.status import BULK, FileStatus, JobStatus


class Away(Exception):
    """The server can't be asked now; nothing is known of what it does."""


class CredentialsRefused(Exception):
    """The server answers, but not to us: the proxy or token has to be renewed. No job was made."""


class SubmitRefused(Exception):
    """The server refused the job as it is (400): it made none. The text is its own."""


class Duplicate(Exception):
    """409: this sid, or one of the destinations, is already known there."""


class Unknowable(Exception):
    """The answer was lost or makes no sense: the act may have been done or not."""


class _Session(Request):  # type: ignore[misc]
    """The client's transport with kept connections, a deadline over the whole answer, and the server's own words kept."""

    deadline_seconds = 30.0
    endpoint = ""
    _local = threading.local()  # a session a thread: they are not made to be shared

    def method(self, method: str, url: str, body: Any = None, headers: dict[str, str] | None = None, **_: Any) -> str:
        """As the client's, but 207 is no error (each item says its own) and 409 keeps its text."""
        head = {"Accept": "application/json", **(headers or {})}
        if self.fts_access_token:
            head["Authorization"] = f"Bearer {self.fts_access_token}"
        verify = (self.capath if os.path.exists(self.capath) else True) if self.verify else False
        end = time.monotonic() + self.deadline_seconds
        with self._session().request(
            method,
            url,
            data=body,
            headers=head,
            verify=verify,
            timeout=(self.connectTimeout, self.timeout),
            cert=(self.ucert, self.ukey) if self.ucert else None,
            stream=True,
            allow_redirects=False,
        ) as answer:
            text = self._read(answer, end)
        if answer.status_code == 409:
            raise Duplicate(_message(text))
        if 300 <= answer.status_code < 400:
            raise BadEndpoint(f"{url} sends us elsewhere ({answer.status_code})")
        if answer.status_code != 207:
            self._handle_error(url, answer.status_code, text)
        return text

    def _session(self) -> requests.Session:
        kept: requests.Session | None = getattr(self._local, "session", None)
        if kept is None:
            kept = self._local.session = requests.Session()
            kept.trust_env = not _loopback(self.endpoint)
            kept.auth = lambda request: request  # no ~/.netrc in place of our token
        return kept

    def _read(self, answer: requests.Response, end: float) -> str:
        parts = []
        for part in answer.iter_content(1 << 16):
            parts.append(part)
            if time.monotonic() > end:
                raise requests.exceptions.ReadTimeout(f"no whole answer within {self.deadline_seconds:.0f} s")
        return b"".join(parts).decode("utf-8", "replace")


def _loopback(url: str) -> bool:
    return "//127." in url or "//localhost" in url or "//[::1]" in url


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200]


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
        """The VO under which the server knows us: job ids follow from it."""
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
        except (FTS3ClientException, requests.RequestException, ValueError) as problem:
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
        except (FTS3ClientException, requests.RequestException, ValueError, KeyError, TypeError) as problem:
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
        except (Duplicate, FTS3ClientException, requests.RequestException, ValueError) as problem:
            raise Away(f"{self.name} did not answer as an FTS server does: {_short(problem)}") from None


def connect(
    name: str, url: str, weight: float, *, token: str | None, proxy: str | None, capath: str | None, seconds: tuple[float, float]
) -> FtsServer:
    """Asks the server who it is. `seconds`: to connect, and for a whole answer. Raises Away or CredentialsRefused."""
    connect_seconds, call_seconds = seconds
    transport = type("_Timed", (_Session,), {"deadline_seconds": call_seconds, "endpoint": url, "_local": threading.local()})
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
    except (FTS3ClientException, Duplicate, requests.RequestException) as problem:
        raise Away(f"{name} at {url} did not answer as an FTS server does: {_short(problem)}") from None
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
