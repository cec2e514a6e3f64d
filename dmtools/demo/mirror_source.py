"""The source of the demo's fourth act: dm-sim dqm, and what the demo tells it as the jobs of a run would."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from dmtools.demo.servers import Sim

RUN = 400001
TAGS = ("beam", "ecal", "hcal", "pixel")
USER, HOST, TOKEN = "dqmdemouser", "dqmfu-demo99-01-0{}.cms", "ghp_0123456789abcdefghijklmnopqrstuvwxyz"
SECRETS = (USER, "demo99", "/fff/demosecret", "demo.person@example.org", "10.99.98.97", TOKEN)
LOG = (
    "%MSG-i begin of the job of {user} on {host}",
    "open /fff/demosecret/run/file.dat from 10.99.98.97",
    "mail demo.person@example.org when it breaks; Authorization: Bearer {token}",
)


class Inside(Sim):
    """The page inside. What it has is in `jobs`: tag -> exit code, None while it runs."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        super().__init__("dqm", ("dqm", "--still"), home, env, outlives=False)
        self.run = RUN
        self.jobs: dict[str, int | None] = dict.fromkeys(TAGS)
        self.events = 1000

    def start(self, seconds: float = 30) -> None:
        """Also again, where it was: a page that is open there finds it."""
        super().start(seconds)
        self.port = self._address()["url"].rpartition(":")[2]

    def tell(self) -> None:
        """News of all jobs; those that run have done something."""
        self.events += 10
        self._post([self._document(number, tag) for number, tag in enumerate(TAGS)])

    def crash(self) -> None:
        """The first job that runs crashes."""
        tag = next(tag for tag, code in self.jobs.items() if code is None)
        self.jobs[tag] = 139
        self.tell()

    def next_run(self) -> None:
        """All that run stop; then the jobs of the next run begin."""
        self.jobs = {tag: 0 if code is None else code for tag, code in self.jobs.items()}
        self.tell()
        self.run, self.jobs = self.run + 1, dict.fromkeys(TAGS)
        self.tell()

    def shown(self) -> tuple[int, dict[str, tuple[str, int | None]]]:
        """What a page must show: the run; by tag a job's state and its exit code."""
        words = {None: "running", 0: "stopped"}
        return self.run, {tag: (words.get(code, "crashed"), code) for tag, code in self.jobs.items()}

    def _document(self, number: int, tag: str) -> dict[str, Any]:
        host, code = HOST.format(number), self.jobs[tag]
        log = [line.format(user=USER, host=host, token=TOKEN) for line in LOG]
        return {
            "_id": f"dqm-source-state-run{self.run}-host{host}-pid{100 + number}",
            "type": "dqm-source-state",
            "run": self.run,
            "tag": tag,
            "hostname": host,
            "timestamp": time.time(),
            "pid": 100 + number,
            "cmdline": ["cmsRun", f"/home/{USER}/cfg.py"],
            "events_total": self.events,
            "events_rate": 12.5,
            "cmssw_lumi": 23,
            "stdout_fn": f"/fff/demosecret/{tag}.log",
            "extra": {"ps_info": {"VmRSS": "1228800 kB"}, "stdlog_start": log, "stdlog_end": [f"{tag}: all of it"]},
        } | ({} if code is None else {"exit_code": code})

    def _post(self, documents: list[dict[str, Any]]) -> None:
        address = self._address()
        body = json.dumps({"docs": documents}).encode()
        headers = {"X-Dm-Token": address["token"], "Content-Type": "application/json"}
        request = urllib.request.Request(f"{address['url']}/_upload/?hosts=production_local", data=body, headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            answer.read()
