"""One run of a cluster: its jobs and streams, moved a lumi section at a time, and the documents that tell of them."""

from __future__ import annotations

import base64
import random
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from dmtools.simulators.dqm import cluster as words
from dmtools.simulators.dqm.cluster import Cluster

LOG_LINES = 30
CRASH_CHANCE = 0.0015  # of a job, a lumi section


@dataclass
class Job:
    """One cmsRun; `exit_code` is None while it runs."""

    key: str
    tag: str
    host: str
    pid: int
    rate: float
    module: str
    start: list[str]
    end: deque[str]
    megabytes: float
    events: int = 0
    lumi: int = 0
    exit_code: int | None = None
    seen: float = 0.0
    memory: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Stream:
    """What was delivered of one stream, a list entry a lumi section."""

    lumis: list[int] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    processed: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)


class Run:
    """A run of `jobs` jobs. `lumi_step` moves it, `finish` ends it, `documents` tells what is new since they were last told."""

    def __init__(self, cluster: Cluster, number: int, jobs: int, lumi_seconds: float, begun: float, dice: random.Random) -> None:
        self.cluster, self.number, self.begun, self.dice = cluster, number, begun, dice
        self.lumi_seconds, self.lumi, self.over, self.told = lumi_seconds, 0, False, begun
        self.streams = {name: Stream() for name in words.STREAMS}
        self.jobs = [self._job(words.TAGS[index % len(words.TAGS)], index, begun) for index in range(jobs)]
        self._news = {job.key for job in self.jobs}

    def lumi_step(self, at: float) -> None:
        """One lumi section more, at this instant: files come, jobs read them, one may crash."""
        self.lumi, self.told = self.lumi + 1, at
        for name, stream in self.streams.items():
            stream.lumis.append(self.lumi)
            stream.delays.append(round(self.dice.gammavariate(6, 1.2) + (8 if name == "streamDQMHistograms" else 0), 2))
            stream.processed.append(self.dice.randrange(60_000, 90_000))
            stream.accepted.append(self.dice.randrange(180, 320) * (3 if name == "streamDQM" else 1))
        for index, job in enumerate(list(self.jobs)):
            if job.exit_code is None:
                self._move(job, index, at)

    def work(self, at: float, seconds: float) -> None:
        """The events of so many seconds."""
        for job in self.jobs:
            if job.exit_code is None and self.lumi:
                job.events += int(job.rate * seconds * self.dice.uniform(0.7, 1.3))
                job.seen = at
                self._news.add(job.key)

    def finish(self, at: float) -> None:
        """All that run stop with exit code 0."""
        self.over, self.told = True, at
        for job in self.jobs:
            if job.exit_code is None:
                self._end(job, 0, at)

    def documents(self) -> list[dict[str, Any]]:
        """The documents of what is new."""
        told = [job_document(self.cluster, self.number, job, self.lumi) for job in self.jobs if job.key in self._news]
        self._news.clear()
        told.append(files_document(self))
        return [*told, playback_document(self)] if self.cluster.original else told

    def _job(self, tag: str, index: int, at: float) -> Job:
        host, pid = self.cluster.units[index % len(self.cluster.units)], self.dice.randrange(2_000, 60_000)
        start = words.first_lines(self.cluster, tag, self.number, host, pid)
        return Job(
            key=f"dqm-source-state-run{self.number}-host{host.partition('.')[0]}-pid{pid}",
            tag=tag,
            host=host,
            pid=pid,
            rate=round(self.dice.uniform(4, 60), 1),
            module=self.dice.choice(words.MODULES),
            start=start,
            end=deque(start, LOG_LINES),
            megabytes=self.dice.uniform(900, 1900),
            seen=at,
        )

    def _move(self, job: Job, index: int, at: float) -> None:
        job.lumi, job.seen = max(1, self.lumi - self.dice.choice((0, 0, 0, 1))), at
        job.megabytes += self.dice.uniform(-2, 6)
        job.memory = [*job.memory[-199:], (int(at), int(job.megabytes * 1024))]
        _write(job, words.lumi_lines(self.cluster, job.module, self.number, job.lumi, job.events))
        self._news.add(job.key)
        if self.lumi > 1 and self.dice.random() < CRASH_CHANCE:
            self._end(job, self.dice.choice(words.CRASHES), at)
            again = self._job(job.tag, index, at)  # as hltd starts it again, with another pid
            self.jobs.append(again)
            self._news.add(again.key)

    def _end(self, job: Job, code: int, at: float) -> None:
        job.exit_code, job.seen = code, at
        _write(job, words.last_lines(code, job.module))
        self._news.add(job.key)


def _write(job: Job, lines: list[str]) -> None:
    job.start += lines[: max(0, LOG_LINES - len(job.start))]
    job.end.extend(lines)


def job_document(cluster: Cluster, run: int, job: Job, lumi: int) -> dict[str, Any]:
    """dqm-source-state: exit_code is not there while the job runs."""
    log = "\n".join([*job.start, "...", *job.end])
    ended = {} if job.exit_code is None else {"exit_code": job.exit_code}
    return ended | {
        "_id": job.key,
        "type": "dqm-source-state",
        "run": run,
        "tag": job.tag,
        "hostname": job.host,
        "timestamp": job.seen,
        "pid": job.pid,
        "cmdline": words.command_line(cluster, job.tag, run),
        "events_total": job.events,
        "events_rate": 0.0 if job.exit_code is not None else job.rate,
        "cmssw_lumi": job.lumi,
        "stdout_fn": f"/var/log/hltd/pid/hlt_run{run}_pid{job.pid}.log",
        "stdlog_gzip": base64.b64encode(zlib.compress(log.encode(), 1)).decode(),
        "extra": {
            "ps_info": {"VmRSS": f"{int(job.megabytes * 1024)} kB", "VmSize": f"{int(job.megabytes * 2100)} kB", "Uid": "37563"},
            "mem_info": {str(at): size for at, size in job.memory},
            "lumi_stats": {"lumi": job.lumi, "closed_abnormally": bool(job.exit_code)},
            "lumi_seen": {str(one): 0 for one in range(max(1, job.lumi - 9), job.lumi + 1)},
            "stdlog_start": job.start,
            "stdlog_end": list(job.end),
        },
    }


def files_document(run: Run) -> dict[str, Any]:
    """dqm-files: what of each stream was delivered, and when."""

    def streams(stream: Stream) -> dict[str, Any]:
        times = [run.begun + lumi * run.lumi_seconds + late for lumi, late in zip(stream.lumis, stream.delays, strict=True)]
        sizes = [accepted * 1_450 for accepted in stream.accepted]
        return {
            "lumis": stream.lumis,
            "mtimes": times,
            "ctimes": times,
            "evt_processed": stream.processed,
            "evt_accepted": stream.accepted,
            "fsize": sizes,
        }

    return {
        "_id": f"dqm-files-run{run.number}-{run.cluster.builder}",
        "type": "dqm-files",
        "run": run.number,
        "tag": None,
        "hostname": run.cluster.builder,
        "timestamp": run.told,
        "extra": {
            "streams": {name: streams(stream) for name, stream in run.streams.items()},
            "global_start": run.begun,
            "lumi": run.lumi_seconds,
            "run_timestamp": run.begun,
        },
    }


def playback_document(run: Run) -> dict[str, Any]:
    """dqm-playback: the simulator of the playback cluster, and which file of the original run each lumi section is."""
    original = run.cluster.original
    place = f"{run.cluster.base}/run{original}"
    return {
        "_id": f"dqm-playback-run{run.number}-{run.cluster.builder}",
        "type": "dqm-playback",
        "run": run.number,
        "tag": "playback",
        "hostname": run.cluster.builder,
        "timestamp": run.told,
        "state": "finished" if run.over else "playing",
        "ls": run.lumi,
        "socket_name": "fff_simulator",
        "config": {"number_of_ls": 120, "lumi_length": run.lumi_seconds, "source": place},
        "extra": {
            "ls_map": {
                str(one): f"{place}/run{original}_ls{one:04d}_streamDQM_sm-c2a11-43-01.dat" for one in range(1, run.lumi + 1)
            }
        },
    }
