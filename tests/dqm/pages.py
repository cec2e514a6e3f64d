"""DQM^2 pages as a browser gives them, of any number of jobs, and the documents that they are made of; with the traps."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

from dmtools.dqm import generations, record
from dmtools.dqm.generations import Generation
from dmtools.dqm.record import RobberSays

AT = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)
RUN = 380001
TAGS = ("beam", "ecal", "hcal", "sistrip", "pixel", "csc", "rpc", "hlt", "l1tstage2", "lumi")


@dataclass
class Job:
    """One job of the source. `log`: its start and its end; empty: its button was not clicked, or there is none."""

    number: int
    host: str = "dqmfu-c2b01-45-01.cms"
    exit_code: int | None = None
    tag: str = "beam"
    seconds: float = 2  # how old its data are
    log: tuple[str, ...] = ("begin of job {n}", "end of job {n}")
    cmdline: tuple[str, ...] = ("cmsRun", "/nfshome0/dqmpro/cfg.py")
    lumi: int | None = 23
    megabytes: int = 1229
    events: int | None = 2000
    rate: float = 12.5
    run: int = RUN

    @property
    def pid(self) -> int:
        return 4000 + self.number

    @property
    def id(self) -> str:
        return f"dqm-source-state-run{self.run}-host{self.host.partition('.')[0]}-pid{self.pid}"

    @property
    def logs(self) -> tuple[str, ...]:
        return tuple(part.format(n=self.number) for part in self.log)


def some_jobs(count: int, run: int = RUN) -> list[Job]:
    """Of ten, one crashed, one stopped, the others run."""
    codes = {3: 139, 7: 0}
    hosts = [f"dqmfu-c2b0{rack}-45-01.cms" for rack in range(1, 5)]
    return [
        Job(
            n,
            hosts[n % 4],
            codes.get(n % 10),
            TAGS[n % len(TAGS)],
            run=run,
            seconds=2 + n % 3 if codes.get(n % 10) is None else 500,
        )
        for n in range(count)
    ]


@dataclass
class Source:
    """What the page shows at an instant."""

    jobs: list[Job] = field(default_factory=lambda: some_jobs(10))
    run: int | None = RUN
    at: datetime = AT
    links: tuple[tuple[str, str], ...] = (("ws://dqmrubu-c2a06-01-01.cms:9215/sync", "live"),)
    runs: tuple[int, ...] = (RUN, RUN - 1, RUN - 2)
    original: int | None = None
    zone: int = 0  # seconds east of UTC of the browser's clock
    hidden_in_head: str = ""  # markup that nobody sees

    def html(self) -> bytes:
        """page.html."""
        rows = "".join(row(job, self) for job in self.jobs)
        head = "".join(
            f"<th>{name}</th>" for name in ("Timestamp", "Hostname", "Pid", "State", "Tag", "LS", "RSS", "Total Ev.", "Actions")
        )
        links = "".join(
            f'<li ng-repeat="(k, conn) in SyncPool._conn" class="ng-scope"><a class="ng-binding"> {escape(uri)} →'
            f'<strong class="ng-binding">{escape(said)}</strong></a></li>'
            for uri, said in self.links
        )
        runs = "".join(
            f'<a ng-repeat="key in runs | limitTo:15" class="label-run label label-info ng-binding ng-scope"> {run} </a>'
            for run in self.runs
        )
        shown = "" if self.run is None else str(self.run)
        return f"""<html lang="en" ng-app="dqmApp" class="ng-scope"><head><meta charset="utf-8"><title>DQM^2: Run {shown}</title>
{self.hidden_in_head}</head><body role="document"><ul class="dropdown-menu">{links}</ul>
<a ng-href="http://dqmrubu-c2a06-01-01.cms:9215/" href="http://dqmrubu-c2a06-01-01.cms:9215/" class="ng-binding">the builder</a>
<div class="label-run ng-hide"> Newest: {runs}</div>{self._playback()}
<ol class="breadcrumb"><li><span class="blue">Run <strong class="ng-binding">{shown}</strong></span></li></ol>
<graph-dqm-timestamps-lumi></graph-dqm-timestamps-lumi><graph-dqm-events-lumi></graph-dqm-events-lumi>
<ol class="breadcrumb"><li><span class="blue">Run <strong class="ng-binding">{shown}</strong></span></li>
<li><span class="blue">Known cmssw jobs</span></li></ol>
<div ng-controller="CachedDocumentCtrl" class="ng-scope"><table class="table hide-actions"><thead><tr>{head}</tr></thead>
<tbody ng-hide="documents.length" class="ng-hide"><tr class="align-center active"><td colspan="100">no data</td></tr></tbody>
<tbody>
{rows}</tbody></table></div></body></html>""".encode()

    def _playback(self) -> str:
        if self.original is None:
            return ""
        files = json.dumps({"1": f"/fff/BU0/playback/run{self.original}/run{self.original}_ls0001_streamDQM.dat"})
        bold = f'<strong title="{escape(files)}" class="ng-binding">1</strong>'
        return f'<div ng-controller="CachedDocumentCtrl" class="ng-scope">{bold}</div>'

    def documents(self) -> bytes:
        """documents.json of the same."""
        documents: list[dict[str, Any]] = [document(job, self) for job in self.jobs]
        if self.original is not None:
            place = f"/fff/BU0/playback/run{self.original}/run{self.original}_ls0001.dat"
            documents.append({"_id": "p", "_rev": 1, "type": "dqm-playback", "run": self.run, "extra": {"ls_map": {"1": place}}})
        return json.dumps({"schema": 1, "run": self.run, "runs": self.runs, "rev": 1, "documents": documents}).encode()


def document(job: Job, source: Source) -> dict[str, Any]:
    """One dqm-source-state."""
    start, end = (*job.logs, "", "")[:2]
    found: dict[str, Any] = {
        "_id": job.id,
        "_rev": 1,
        "type": "dqm-source-state",
        "run": job.run,
        "tag": job.tag,
        "hostname": job.host,
        "timestamp": source.at.timestamp() - job.seconds,
        "pid": job.pid,
        "cmdline": job.cmdline,
        "events_total": job.events,
        "events_rate": job.rate,
        "cmssw_lumi": job.lumi,
        "extra": {
            "ps_info": {"VmRSS": f"{job.megabytes << 10} kB"},
            "stdlog_start": start.splitlines(),
            "stdlog_end": end.splitlines(),
        },
    }
    return found if job.exit_code is None else found | {"exit_code": job.exit_code}


def row(job: Job, source: Source) -> str:
    """The row of a job with its buttons and hidden twins, and behind it the row of its log."""
    colour = "success" if job.exit_code is None else "warning" if job.exit_code == 0 else "danger"
    moment = source.at + timedelta(seconds=source.zone - job.seconds)
    ended, runs = ("", " ng-hide") if job.exit_code is not None else (" ng-hide", "")
    code = "" if job.exit_code is None else job.exit_code
    some, none = ("", " ng-hide") if job.events else (" ng-hide", "")
    where = f"http://{job.host}:9215/utils/show_log/{escape(job.id)}"
    log = "".join(
        f'<dqm-log log="doc.extra" class="ng-isolate-scope"><pre class="log ng-binding">{escape(part)}</pre></dqm-log>'
        for part in job.logs
    )
    inline = (
        f'<tr ng-if="_show_inline == \'log\'" dqm-refresh="doc" class="ng-scope dqm-refresh"><td colspan="100">{log}</td></tr>'
        if log
        else ""
    )
    return f"""<tr ng-repeat-start="doc in (documents | orderBy:sortPath) track by doc._id" ng-class="doc | dqm_exitcode_class"
 class="ng-scope dqm-refresh {colour}">
<td class="nowrap ng-binding">
  {moment:%Y-%m-%d %H:%M:%S}
  <dqm-timediff-field time="doc.timestamp"><span class="label delay ng-binding">{job.seconds:.0f}</span></dqm-timediff-field>
</td>
<td class="nowrap ng-binding"> {escape(job.host)} </td>
<td class="nowrap ng-binding"> {job.pid} </td>
<td class="nowrap">
  <span ng-hide="doc.exit_code == undefined" class="ng-binding{ended}">{code}</span>
  <span ng-show="doc.exit_code == undefined" class="{runs.strip()}"><!-- ngIf: dqm_number == 3 -->
    <span ng-show="dqm_number != 3">R</span></span>
</td>
<td class="nowrap ng-binding" title="{escape(" ".join(job.cmdline))}">{escape(job.tag)} {button("cmd")}</td>
<td class="nowrap actions ng-binding">{"" if job.lumi is None else job.lumi} {button("lumi")}</td>
<td class="nowrap actions ng-binding">{job.megabytes:,} mb {button("ps_info")}{button("mem_graph")}</td>
<td class="nowrap"><span ng-show="doc.events_total" class="ng-binding{some}">{job.events} ({job.rate} evt/s)</span>
  <span ng-hide="doc.events_total" class="{none.strip()}">--</span> {button("lumi_graph")}</td>
<td class="nowrap">{button("source")}{button("log", "log")}
  <a ng-href="{where}" target="_blank" class="hover-hide btn btn-default btn-xs" href="{where}">full log</a></td>
</tr><!-- ngIf: _show_inline == 'log' -->{inline}<!-- ngIf: _show_inline == 'lumi' -->"""


def button(what: str, text: str = "") -> str:
    """The two anchors of one thing that can be opened below a row."""
    look = "hover-hide btn btn-default btn-xs"
    sign = text or '<span class="glyphicon glyphicon-list"></span>'
    return (
        f'<a ng-hide="_show_inline == \'{what}\'" ng-click="_show_inline = \'{what}\'" class="{look}">{sign}</a>'
        f'<a ng-show="_show_inline == \'{what}\'" ng-click="_show_inline = null" class="{look} active ng-hide">'
        '<span class="glyphicon glyphicon-remove"></span></a>'
    )


def png(width: int = 8, height: int = 4, extra: tuple[tuple[bytes, bytes], ...] = (), tail: bytes = b"") -> bytes:
    """A picture, RGBA, with more chunks before its end and bytes behind it."""
    pixels = b"".join(
        b"\0" + bytes((x * 30, y * 60, 200, 255)[c] % 256 for x in range(width) for c in range(4)) for y in range(height)
    )
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)),
        *extra,
        (b"IDAT", zlib.compress(pixels)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in chunks) + tail


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def grab(
    home: Path,
    source: Source,
    site: str = "production",
    run: int | None = None,
    *,
    files: dict[str, bytes] | None = None,
    robber: bool = True,
    facts: dict[str, str] | None = None,
) -> Generation:
    """Puts it where the robber would: the live page, or an old run; `files` are others beside or instead."""
    raw = home / "dqm/raw" / site
    place = raw / "live" if run is None else raw / "runs" / str(run)
    given = {"page.html": source.html(), "graph-1.png": png(), "graph-2.png": png(16)} | (files or {})
    made = generations.publish(place, given, {"grabbed": source.at.isoformat()} | (facts or {}))
    if robber and run is None:
        says(home, site, made, source.at)
    return made


def says(home: Path, site: str, generation: Generation, at: datetime) -> None:
    """robber.json: the page was just got, and is this generation."""
    told = RobberSays(site=site, at=at, tried=at, confirmed=at, generation=generation.path.name, browser="chromium")
    record.write(home / "dqm/raw" / site / "robber.json", told)
