"""What the tests of `dm-sim dqm` share: a running server with its HOME, its websocket, documents, its page's address."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import websocket

from tests.support import command, environment

FLAGS = "showFiles&showJobs&showTimestampsGraph&showEventsGraph"


@dataclass
class Dqm:
    """A server under HOME/run/sim/dqm.json, and what one does with it."""

    home: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, *options: object) -> Dqm:
        """Starts it and waits for its line."""
        with (self.home / "sim.log").open("ab") as log:
            argv = command("dm-sim", "dqm", "--port", 0, *options)
            self.process = subprocess.Popen(argv, env=environment(self.home), stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout
        assert self.process.stdout.readline().decode() == f"listening on {self.url}\n", (self.home / "sim.log").read_text()
        return self

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        assert self.process
        self.process.terminate()
        return self.process.wait(30)

    @property
    def address(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.home / "run/sim/dqm.json").read_text())
        return told

    @property
    def url(self) -> str:
        return str(self.address["url"])

    def page(self, hosts: str = "production_local", run: object = None) -> str:
        """The address of the page, of the newest run or of this one."""
        track = "trackRun&" if run is None else ""
        return f"{self.url}/static/index.html?token={self.address['token']}#/lumi/?{track}hosts={hosts}&run={run or ''}&{FLAGS}"

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request with the token."""
        headers = {"X-Dm-Token": self.address["token"]}
        return requests.request(method, self.url + path, headers=headers, timeout=options.pop("timeout", 30), **options)

    def upload(self, *documents: dict[str, Any], hosts: str = "production_local") -> int:
        """Gives it documents; gives the last revision."""
        answer = self.ask("POST", f"/_upload/?hosts={hosts}", json={"docs": documents})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["rev"])

    def proxy(self, *messages: dict[str, Any], hosts: str = "production_local") -> list[dict[str, Any]]:
        """What /sync_proxy answers to these messages."""
        texts = [json.dumps(message) for message in messages]
        answer = self.ask("POST", f"/sync_proxy?hosts={hosts}", json={"messages": texts})
        return [json.loads(text) for text in answer.json()["messages"]]

    def socket(self, hosts: str = "production_local", **options: Any) -> websocket.WebSocket:
        """The websocket, as the page has it."""
        cookie = options.pop("cookie", f"dm-sim={self.address['token']}")
        return websocket.create_connection(f"{self.url.replace('http', 'ws')}/sync?hosts={hosts}", timeout=30, cookie=cookie)

    def faults(self, *faults: str) -> None:
        """The faults in force from now on, each the lines of one entry; whole and at once."""
        new = self.home / "run/sim/.dqm.new"
        new.write_text("".join(f"[[fault]]\n{lines}\n" for lines in faults))
        new.rename(self.home / "run/sim/dqm.faults.toml")


def job(run: int, tag: str = "beam", pid: int = 100, **more: Any) -> dict[str, Any]:
    """A document of a job; `extra` in `more` is its own."""
    log = {"stdlog_start": [f"{tag} begins"], "stdlog_end": [f"{tag} goes on"]}
    told = {
        "_id": f"job-{run}-{tag}-{pid}",
        "type": "dqm-source-state",
        "run": run,
        "tag": tag,
        "hostname": "fu-1-01",
        "pid": pid,
    }
    told |= {"events_total": 2000, "events_rate": 12.5, "cmssw_lumi": 7, "extra": {"ps_info": {"VmRSS": "1048576 kB"}, **log}}
    return told | more


def files(run: int) -> dict[str, Any]:
    """A document of delivered files of two lumi sections."""
    one = {"lumis": [1, 2], "mtimes": [30.0, 55.0], "ctimes": [30.0, 55.0], "evt_processed": [9, 9], "evt_accepted": [4, 5]}
    extra = {"streams": {"streamDQM": {**one, "fsize": [100, 100]}}, "global_start": 0.0, "lumi": 23.31}
    return {"_id": f"files-{run}", "type": "dqm-files", "run": run, "tag": None, "hostname": "bu-1", "extra": extra}


def hear(socket: websocket.WebSocket, event: str) -> dict[str, Any]:
    """The next message of this kind."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv())
        if message["event"] == event:
            return message


def tell(socket: websocket.WebSocket, **message: Any) -> None:
    socket.send(json.dumps(message))
