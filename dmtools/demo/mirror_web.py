"""What a person outside sees in the demo's fourth act: dqm-server, asked as a browser and a program ask it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from html import unescape
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dmtools.demo.servers import Unready

MOST = 300  # addresses
_LINKS = re.compile(r"""(?:href|src|"(?:log|path)")\s*[=:]\s*"([^"#]+)""")


class Outside:
    """A dqm-server of its own, for as long as the block lasts. Raises Unready."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self._log = home / "log/dqm-server.demo"
        argv = ["dqm-server", "--port", "0"]
        if shutil.which("setpriv"):
            argv = ["setpriv", "--pdeathsig", "TERM", *argv]
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._url = ""

    def __enter__(self) -> Self:
        """It listens."""
        deadline = time.monotonic() + 30
        while not (found := re.search(r"listening on (\S+?)/?\n", self._log.read_text())):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise Unready(f"dqm-server did not start: {self._log.read_text().strip() or 'it said nothing'}")
            time.sleep(0.02)
        self._url = found[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """It ends."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _get(self, path: str) -> tuple[bytes, str]:
        """(body, headers)."""
        try:
            with self._opener.open(self._url + path, timeout=30) as answer:
                return answer.read(), str(answer.headers)
        except urllib.error.HTTPError as problem:
            return problem.read(), str(problem.headers)

    def _live(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._get("/api/v1/sites/production")[0])
        return found

    def page(self) -> tuple[int | None, dict[str, tuple[str, int | None]]]:
        """What is shown: the run; by tag a job's state and exit code."""
        page = self._live().get("page") or {"run": None, "jobs": []}
        return page["run"], {job["tag"]: (job["state"], job["exit_code"]) for job in page["jobs"]}

    def state(self) -> str:
        """Fresh, Stale, Down or Broken."""
        return str(self._live().get("state"))

    def why(self) -> str:
        """In a sentence."""
        return str(self._live().get("why"))

    def old_runs(self) -> list[int]:
        """Those that are kept."""
        return list(self._live().get("old_runs", []))

    def says_so(self) -> bool:
        """Has the page for people the same verdict and sentence?"""
        for _ in range(20):  # the age in it goes on meanwhile
            told = self._live()
            text = unescape(self._get("/sites/production")[0].decode())
            if told["state"] != "Fresh" and told["state"] in text and _without_age(told["why"]) in text:
                return True
        return False

    def everything(self) -> dict[str, bytes]:
        """Path -> headers and body of all that is reached from the first page and the API."""
        wanted = ["/", "/help", "/healthz", "/api/v1/health", "/api/v1/sites/production", "/api/v1/sites/production/jobs.csv"]
        wanted += ["/api/v1/sites/production/runs", "/no-such-page"]
        read: dict[str, bytes] = {}
        while wanted and len(read) < MOST:
            path = wanted.pop(0)
            if path in read:
                continue
            body, headers = self._get(path)
            read[path] = headers.encode() + body
            if not path.startswith("/static/") and b"\0" not in body[:100]:
                found = [urllib.parse.urljoin(path, unescape(link)) for link in _LINKS.findall(body.decode("utf-8", "replace"))]
                wanted += [link for link in found if link.startswith("/") and link not in read]
        return read


def _without_age(text: str) -> str:
    """Up to where an age begins."""
    return re.split(r"\d", text)[0]
