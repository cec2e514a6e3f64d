"""The JSON API, version 1, and jobs as CSV: records of sites, pages and runs for programs."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import Any

import msgspec

from dmtools import clock
from dmtools.dqm import record
from dmtools.dqm.freshness import BROKEN, DOWN, Verdict
from dmtools.dqm.record import Page
from dmtools.dqm.serving import words
from dmtools.dqm.serving.exhibits import Exhibit, Run
from dmtools.dqm.serving.faces import Faces
from dmtools.dqm.serving.watching import Site

SCHEMA = 1
_COLUMNS = ("key", "time_utc", "host", "state", "exit_code", "tag", "lumi", "rss_bytes", "events", "events_per_second")


def health(sites: list[Site], faces: Faces, at: datetime) -> dict[str, Any]:
    """How all sites stand; `alert` is 0 when all are Fresh, 1 for what is Stale, 2 for Down and Broken."""
    told = {one.name: standing(one, one.verdict(faces.limits, at)) for one in sites}
    levels = [0 if one["state"] == "Fresh" else 2 if one["state"] in (DOWN, BROKEN) else 1 for one in told.values()]
    alert = max(levels, default=0)
    return {"schema": SCHEMA, "at": clock.iso(at), "state": "degraded" if alert else "ok", "alert": alert, "sites": told}


def standing(site: Site, verdict: Verdict) -> dict[str, Any]:
    """How a site stands, in figures."""
    page = site.live.page if site.live else None
    return {
        "title": site.title,
        "state": verdict.state,
        "why": verdict.why,
        "true_at": clock.iso(verdict.true_at),
        "age_seconds": None if verdict.age is None else round(verdict.age, 1),
        "mark": site.live.token if site.live else None,
        "run": page.run if page else None,
        "original_run": page.original_run if page else None,
        "jobs": record.counts(page.jobs) if page else None,
        "old_runs": list(site.runs),
    }


def live(site: Site, faces: Faces, at: datetime) -> dict[str, Any]:
    """The page of a site, and how good it is."""
    page = _page(site.live, site, faces) if site.live else None
    return {
        "schema": SCHEMA,
        "at": clock.iso(at),
        "site": site.name,
        **standing(site, site.verdict(faces.limits, at)),
        "page": page,
    }


def old_runs(site: Site, faces: Faces) -> dict[str, Any]:
    """The list of old runs."""
    told = [{**_run(one), "path": f"{faces.prefix}/api/v1/sites/{site.name}/runs/{one.number}"} for one in site.runs.values()]
    return {"schema": SCHEMA, "site": site.name, "runs": told}


def _run(run: Run) -> dict[str, Any]:
    return {
        "run": run.number,
        "jobs": run.counts,
        "bad": run.is_bad,
        "data": clock.iso(run.data),
        "grabbed": clock.iso(run.grabbed),
    }


def old_run(site: Site, shown: Exhibit, faces: Faces) -> dict[str, Any]:
    """An old run."""
    return {"schema": SCHEMA, "site": site.name, "page": _page(shown, site, faces)}


def _page(shown: Exhibit, site: Site, faces: Faces) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(shown.page)
    for one in told["jobs"]:
        one["log"] = faces.address(site.name, shown, one["log"]) if one["log"] in shown.files else None
    here = [one for one in told["graphs"] if one["file"] in shown.files]
    told["graphs"] = [{"name": one["name"], "path": faces.address(site.name, shown, one["file"])} for one in here]
    return told


def table(page: Page) -> bytes:
    """The jobs as CSV (RFC 4180): a line of names, then a job a line."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(_COLUMNS)
    for job in page.jobs:
        figures = (job.lumi, job.rss_bytes, job.events, job.rate)
        at = clock.iso(words.instant(job, page)) or ""
        names = (job.key, at, _plain(job.host), words.state(job), job.exit_code, _plain(job.tag or ""))
        rows.writerow(["" if one is None else one for one in (*names, *figures)])
    return text.getvalue().encode("utf-8", "backslashreplace")


def _plain(text: str) -> str:
    """A text that a spreadsheet won't take for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
