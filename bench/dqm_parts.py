"""The mirror of a page with nothing but what its commands are: started in a HOME of its own, looked at from outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

ROOT = Path(__file__).resolve().parents[1]
SITE, HOSTS, RUN = "production", "production_local", 400001


def job(number: int, events: int, at: float, run: int = RUN) -> dict[str, Any]:
    """A document of a running job, as a cluster uploads it."""
    log = {"stdlog_start": [f"job {number} begins"], "stdlog_end": [f"{number} has {events} events"]}
    told = {"_id": f"job-{run}-{number}", "type": "dqm-source-state", "run": run, "tag": f"tag{number}", "timestamp": at}
    told |= {"hostname": f"fu-c2f{number:02}-11-01", "pid": 1000 + number, "events_total": events, "events_rate": 12.5}
    return told | {"cmssw_lumi": 7, "extra": {"ps_info": {"VmRSS": "1048576 kB"}, **log}}


def files(run: int = RUN) -> dict[str, Any]:
    """A document of delivered files: the page draws its graphs of it."""
    one = {"lumis": [1, 2], "mtimes": [30.0, 55.0], "ctimes": [30.0, 55.0], "evt_processed": [9, 9], "evt_accepted": [4, 5]}
    extra = {"streams": {"streamDQM": {**one, "fsize": [100, 100]}}, "global_start": 0.0, "lumi": 23.31}
    return {"_id": f"files-{run}", "type": "dqm-files", "run": run, "tag": None, "hostname": "bu-1", "extra": extra}


class Mirror:
    """A HOME below /tmp with one site, its simulated page and the three commands; all of it ends with the `with`."""

    def __init__(self, *lines: str) -> None:
        """`lines`: of the settings."""
        self.home = Path(tempfile.mkdtemp(prefix="dqb-", dir="/tmp"))
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._session = requests.Session()
        self._run("dm-config", "init", str(self.home))
        with (self.home / "dmtools.toml").open("a") as out:
            out.write(f'\ndqm.sites = [{{name = "{SITE}", url = "sim:dqm/{SITE}"}}]\n' + "".join(f"{line}\n" for line in lines))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        if kind not in (None, KeyboardInterrupt):
            for log in sorted(self.home.glob("*.out")):
                print(f"--- {log.name}\n{log.read_text()[-2000:]}", file=sys.stderr)
        for name in reversed(list(self.running)):
            self.stop(name)
        shutil.rmtree(self.home, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "DMTOOLS_HOME": str(self.home), "PYTHONUNBUFFERED": "1"}

    def _run(self, name: str, *words: str) -> None:
        subprocess.run(
            [sys.executable, ROOT / "bin" / name, *words], env=self._environment(), stdout=subprocess.DEVNULL, check=True
        )

    def start(self, name: str, *words: str, listens: bool = False) -> str:
        """Starts a command; gives the address at which it listens, if it does."""
        return self.start_as(name, name, *words, listens=listens)

    def start_as(self, called: str, name: str, *words: str, listens: bool = False) -> str:
        """The same; `called`: how it is known here."""
        out = self.home / f"{called}.out"
        with out.open("wb") as log:
            argv = [sys.executable, str(ROOT / "bin" / name), *words]
            self.running[called] = subprocess.Popen(argv, env=self._environment(), stdout=log, stderr=log)
        if not listens:
            return ""
        self.until(lambda: "listening on" in out.read_text(), 60, f"{called} listens")
        return out.read_text().partition("listening on ")[2].split()[0].rstrip("/")

    def stop(self, name: str) -> None:
        """SIGTERM, and the end of it."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise

    def until(self, condition: Any, seconds: float, what: str, every: float = 0.01) -> Any:
        """Asks until it gives something true, and gives that. Raises TimeoutError, or when a command has ended."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            for name, process in self.running.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode} before {what}")
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds} s: {what}")
            time.sleep(every)
        return found

    def upload(self, *documents: dict[str, Any]) -> None:
        """Gives the source these documents, as the clusters do."""
        where = json.loads((self.home / "run/sim/dqm.json").read_text())
        answer = self._session.post(
            f"{where['url']}/_upload/?hosts={HOSTS}", json={"docs": documents}, headers={"X-Dm-Token": where["token"]}, timeout=30
        )
        answer.raise_for_status()

    def generations(self, kind: str) -> list[Path]:
        """The generations of the live page in raw or public, the newest first."""
        place = self.home / "dqm" / kind / SITE / "live"
        return sorted((path for path in place.glob("g*") if path.name[1:].isdigit()), reverse=True) if place.exists() else []
