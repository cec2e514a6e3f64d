"""The finished pages. What the clock leaves alone is made once a generation; ages are put between, each half second."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from dmtools import __version__, clock
from dmtools.dqm import record
from dmtools.dqm.freshness import Verdict
from dmtools.dqm.record import RUNNING, Job, Page
from dmtools.dqm.serving import words
from dmtools.dqm.serving.exhibits import Exhibit
from dmtools.dqm.serving.watching import Site
from dmtools.settings import Dqm
from dmtools.web.sheets import Sheets, encoded, safe

COLUMNS = {
    "at": "Time",
    "age": "Age",
    "host": "Host",
    "state": "State",
    "tag": "Tag",
    "lumi": "LS",
    "rss": "RSS",
    "events": "Events",
}
_WORST_FIRST = {"crashed": 0, "unknown": 1, "running": 2, "stopped": 3}
_SLOT = re.compile("\0[0-9]+\0")  # no text has a NUL: `safe` makes it visible

Key = Callable[[Job], Any]
_KEYS: dict[str, Key] = {
    "at": lambda job: -job.at.timestamp() if job.at else float("inf"),
    "age": lambda job: -job.at.timestamp() if job.at else float("inf"),
    "host": lambda job: (job.host, job.tag or ""),
    "state": lambda job: (_WORST_FIRST[words.state(job)], job.host, job.tag or ""),
    "tag": lambda job: (job.tag or "", job.host),
    "lumi": lambda job: -1 if job.lumi is None else job.lumi,
    "rss": lambda job: -1 if job.rss_bytes is None else job.rss_bytes,
    "events": lambda job: -1 if job.events is None else job.events,
}


class Face:
    """A page's body but for the ages of its jobs."""

    def __init__(self, html: str, since: list[tuple[float | None, bool]]) -> None:
        """`since`: of each slot the job's instant (seconds of the epoch), and whether it is called stuck when that is old."""
        self._pieces = [encoded(part) for part in _SLOT.split(html)]
        self._since = since

    def at(self, now: float, stuck: float) -> bytes:
        """The body at an instant."""
        found = [self._pieces[0]]
        for (since, runs), piece in zip(self._since, self._pieces[1:], strict=True):
            found += (_age(since, runs, now, stuck), piece)
        return b"".join(found)


def _age(since: float | None, runs: bool, now: float, stuck: float) -> bytes:
    if since is None:
        return "–".encode()
    age = max(0.0, now - since)
    badge = ""
    if runs and age > stuck:
        badge = ' <span class="badge stuck"><span aria-hidden="true">!</span> no news</span>'
    return f'<time class="age" data-age="{age:.1f}"{" data-runs" if runs else ""}>{clock.age(age)}</time>{badge}'.encode()


class Faces:
    """Makes pages of a site and of its runs."""

    def __init__(self, limits: Dqm, sites: Callable[[], dict[str, Site]]) -> None:
        self.limits, self.prefix = limits, limits.prefix
        self.sheets = Sheets(Path(__file__).parent, self.prefix)
        self._sites = sites
        self._kept: dict[tuple[str, str, str], tuple[str, Face]] = {}

    def whole(self, title: str, body: str, *, site: str = "", here: str = "", live: bool = False) -> bytes:
        """A page with its frame; `body` is HTML."""
        shown = [(one.name, one.title) for one in self._sites().values()]
        frame = {"site": site or next(iter(self._sites()), ""), "here": here, "sites": shown, "live": live}
        frame |= {"refresh": self.limits.page_seconds, "version": __version__, "zone": words.zone()}
        return encoded(self.sheets.render("frame", title=title, body=body, **frame))

    def message(self, title: str, text: str) -> bytes:
        """What went wrong, in a sentence."""
        return self.whole(title, self.sheets.render("message", title=title, text=text))

    def help(self) -> bytes:
        """The help page."""
        limits = self.limits
        spans = {"stale": limits.stale_seconds, "down": limits.down_seconds, "stuck": limits.stuck_seconds}
        values: dict[str, Any] = {name: words.spoken(seconds) for name, seconds in spans.items()}
        values |= {"steps": words.STEPS, "refresh": f"{limits.page_seconds:g}", "version": __version__, "zone": words.zone()}
        return self.whole("Help", self.sheets.render("help", **values), here="help")

    def live(self, site: Site, order: str, at: datetime) -> bytes:
        """The whole page of a site."""
        mark = "\0live\0"
        values = {"site": site.name, "shown": mark, "refresh": self.limits.page_seconds, "stuck": self.limits.stuck_seconds}
        page = self.whole(self._title(site), self.sheets.render("live", **values), site=site.name, here="live", live=True)
        return page.replace(mark.encode(), self.fragment(site, order, at))

    def _title(self, site: Site) -> str:
        run = site.live.page.run if site.live else None
        return f"{site.title}{f': run {run}' if run is not None else ''}"

    def fragment(self, site: Site, order: str, at: datetime) -> bytes:
        """What changes of it: how good the data are, and the data."""
        verdict = site.verdict(self.limits, at)
        shown = site.live
        body = self.face(site, shown, order).at(at.timestamp(), self.limits.stuck_seconds) if shown else b""
        old = b"" if verdict.is_good else b" old"
        return encoded(self._strip(site, verdict)) + b'<div class="shown%s">' % old + body + b"</div>"

    def _strip(self, site: Site, verdict: Verdict) -> str:
        page, age = site.live.page if site.live else None, verdict.age
        return self.sheets.render(
            "strip",
            state=verdict.state,
            sign=words.VERDICT_SIGNS[verdict.state],
            why=verdict.why,
            step=words.STEPS[verdict.state],
            age=age,
            aged=clock.age(age),
            spoken=words.spoken(age or 0),
            true_at=words.moment(verdict.true_at),
            mark=mark(site),
            run=page.run if page else None,
            original=page.original_run if page else None,
            link=words.link(page) if page else "nothing was got yet",
        )

    def old_run(self, site: Site, shown: Exhibit, order: str) -> bytes:
        """The whole page of an old run; its jobs' ages are those of the moment at which it was grabbed."""
        body = self.face(site, shown, order).at(shown.page.grabbed.timestamp(), float("inf"))
        page = self.whole(f"{site.title}: old run {shown.page.run}", "\0body\0", site=site.name, here="runs")
        return page.replace(b"\0body\0", b'<div class="shown past">' + body + b"</div>")

    def face(self, site: Site, shown: Exhibit, order: str) -> Face:
        """The body of a generation, made once."""
        where = (site.name, "live" if shown.page.live else str(shown.page.run), order)
        token = f"{shown.token} {'' if not shown.page.live else [(number, run.is_bad) for number, run in site.runs.items()]}"
        kept = self._kept.get(where)
        if kept is None or kept[0] != token:
            kept = (token, self._face(site, shown, order))
            self._kept[where] = kept
            while len(self._kept) > 100:
                self._kept.pop(next(iter(self._kept)), None)
        return kept[1]

    def _face(self, site: Site, shown: Exhibit, order: str) -> Face:
        page = shown.page
        jobs = ordered(page.jobs, order)
        rows = [self._row(job, page, site.name, shown, slot) for slot, job in enumerate(jobs)]
        instants = [words.instant(job, page) for job in jobs]
        api = f"{self.prefix}/api/v1/sites/{site.name}" + ("" if page.live else f"/runs/{page.run}")
        html = self.sheets.render(
            "body",
            page=page,
            live=page.live,
            jobs=rows,
            columns=[(key, text, *_heading(key, order)) for key, text in COLUMNS.items()],
            counts=[(state, words.JOB_SIGNS[state], n) for state, n in record.counts(page.jobs).items()],
            graphs=[(one.name, self.address(site.name, shown, one.file)) for one in page.graphs if one.file in shown.files],
            links=[(one, words.LINK_SIGNS.get(one.state, "?")) for one in page.links],
            runs=[(number, self.run_address(site.name, number), run.is_bad) for number, run in list(site.runs.items())[:40]],
            when=words.moment,
            csv=f"{api}/jobs.csv",
            json=api,
        )
        since = [(at.timestamp() if at else None, words.state(job) == RUNNING) for job, at in zip(jobs, instants, strict=True)]
        return Face(html, since)

    def _row(self, job: Job, page: Page, site: str, shown: Exhibit, slot: int) -> dict[str, str]:
        return {
            "key": job.key,
            "at": words.moment(words.instant(job, page)),
            "age": f"\0{slot}\0",
            "host": job.host,
            "state": words.state(job),
            "sign": words.JOB_SIGNS[words.state(job)],
            "said": words.said(job),
            "tag": job.tag or "–",
            "lumi": "–" if job.lumi is None else str(job.lumi),
            "rss": words.memory(job.rss_bytes),
            "events": words.events(job),
            "log": self.address(site, shown, job.log, "log") if job.log and job.log in shown.files else "",
        }

    def address(self, site: str, shown: Exhibit, name: str, how: str = "files") -> str:
        """Where a file of a generation is; another place when the file is another one. `how`: files, or log to read it."""
        return f"{self.prefix}/sites/{site}/{how}/{shown.files[name].sum16}/{name}"

    def run_address(self, site: str, number: int) -> str:
        """Where an old run is."""
        return f"{self.prefix}/sites/{site}/runs/{number}"


def mark(site: Site) -> str:
    """What tells the page that is shown from others."""
    return safe(site.live.token if site.live else "")


def ordered(jobs: tuple[Job, ...], order: str) -> list[Job]:
    """By a column; `-` before it: the other way round. As the page has them when there is no such column."""
    key = _KEYS.get(order.removeprefix("-"))
    return list(jobs) if key is None else sorted(jobs, key=key, reverse=order.startswith("-"))


def _heading(key: str, order: str) -> tuple[str, str]:
    """(what aria-sort says, the order that a click on the heading gives)."""
    if order == key:
        return "ascending", f"-{key}"
    return ("descending" if order == f"-{key}" else "none"), key


class Finished:
    """Keeps bytes for half a second, so that a thousand readers cost as much as one; nothing is older when it is given out."""

    SECONDS = 0.5

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], tuple[float, int, bytes]] = {}
        self.largest = 0  # bytes of an answer so far
        self._packed: dict[int, tuple[bytes, bytes]] = {}

    def once(self, what: tuple[str, ...], number: int, make: Callable[[], bytes]) -> bytes:
        """What `make` gave less than half a second ago, of the same `number`."""
        kept, now = self._kept.get(what), time.monotonic()
        if kept is not None and kept[1] == number and now - kept[0] < self.SECONDS:
            return kept[2]
        if len(self._kept) > 200:
            self._kept.clear()
        body = make()
        self.largest = max(self.largest, len(body))
        self._kept[what] = (now, number, body)
        return body

    def packed(self, body: bytes, make: Callable[[], bytes]) -> bytes:
        """The packed form of bytes that were just given, made once as long as these are kept."""
        kept = self._packed.get(id(body))
        if kept is not None and kept[0] is body:
            return kept[1]
        while len(self._packed) >= 50:
            self._packed.pop(next(iter(self._packed)), None)
        found = make()
        self._packed[id(body)] = (body, found)
        return found
