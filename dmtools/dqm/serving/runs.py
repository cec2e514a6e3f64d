"""The list of old runs as a timeline, and two of them beside each other."""

from __future__ import annotations

from typing import Any

from dmtools.dqm.record import JOB_STATES, Job, Page
from dmtools.dqm.serving import words
from dmtools.dqm.serving.exhibits import Exhibit, Run
from dmtools.dqm.serving.faces import Faces
from dmtools.dqm.serving.watching import Site

_WIDE, _TALL = 120, 12  # of a bar


def timeline(site: Site, faces: Faces, *, bad: bool) -> bytes:
    """The page of all old runs, or of the bad ones alone."""
    shown = [run for run in site.runs.values() if run.is_bad or not bad]
    most = max((sum(run.counts.values()) for run in shown), default=0)
    rows = [_row(run, site, faces, most, n) for n, run in enumerate(shown)]
    n_bad = sum(run.is_bad for run in site.runs.values())
    body = faces.sheets.render(
        "runs",
        site=site.name,
        title=site.title,
        bad=bad,
        rows=rows,
        said=f"{len(site.runs)} are here, {n_bad} of them bad.",
        states=[(state, words.JOB_SIGNS[state]) for state in JOB_STATES],
    )
    return faces.whole(f"{site.title}: old runs", body, site=site.name, here="runs")


def _row(run: Run, site: Site, faces: Faces, most: int, place: int) -> dict[str, Any]:
    return {
        "run": run.number,
        "address": faces.run_address(site.name, run.number),
        "bad": run.is_bad,
        "data": words.moment(run.data),
        "jobs": sum(run.counts.values()),
        "counts": [run.counts[state] for state in JOB_STATES],
        "bar": _bar(run, most),
        "a": place == 1,
        "b": place == 0,
    }


def _bar(run: Run, most: int) -> str:
    """Jobs by state as lengths, each state with its own pattern of strokes."""
    parts, left = [], 0.0
    for state in JOB_STATES:
        wide = _WIDE * run.counts[state] / most if most else 0.0
        if wide:
            parts.append(f'<rect class="{state}" x="{left:.1f}" width="{wide:.1f}" height="{_TALL}"/>')
            left += wide
    said = ", ".join(f"{run.counts[state]} {state}" for state in JOB_STATES if run.counts[state])
    return f'<svg class="bar" viewBox="0 0 {_WIDE} {_TALL}" role="img" aria-label="{said or "no jobs"}">{"".join(parts)}</svg>'


def compared(a: Page, b: Page) -> list[tuple[str, str, Job | None, Job | None]]:
    """(host, tag, job of a, job of b), those that differ in state first. Several of one host and tag go by their order."""
    found: dict[tuple[str, str, int], list[Job | None]] = {}
    for side, page in enumerate((a, b)):
        seen: dict[tuple[str, str], int] = {}
        for job in page.jobs:
            name = (job.host, job.tag or "")
            seen[name] = seen.get(name, 0) + 1
            found.setdefault((*name, seen[name]), [None, None])[side] = job
    rows = [(host, tag, pair[0], pair[1]) for (host, tag, _), pair in found.items()]
    return sorted(rows, key=lambda row: (not differs(row[2], row[3]), row[0], row[1]))


def differs(a: Job | None, b: Job | None) -> bool:
    """In state, or in that there is one."""
    return a is None or b is None or words.said(a) != words.said(b)


def comparison(site: Site, faces: Faces, a: Exhibit, b: Exhibit) -> bytes:
    """The page of two runs."""
    rows, found = [], compared(a.page, b.page)
    for host, tag, one, other in found:
        pair = (one, other)
        states = [(words.state(job), words.JOB_SIGNS[words.state(job)], words.said(job)) if job else None for job in pair]
        figures = [words.events(job) if job else "" for job in pair] + [
            words.memory(job.rss_bytes) if job else "" for job in pair
        ]
        rows.append({"host": host, "tag": tag or "–", "states": states, "figures": figures, "differs": differs(one, other)})
    n = sum(differs(one, other) for _, _, one, other in found)
    body = faces.sheets.render(
        "compare",
        a=a.page.run,
        b=b.page.run,
        a_address=faces.run_address(site.name, a.page.run or 0),
        b_address=faces.run_address(site.name, b.page.run or 0),
        said="No job differs in state." if not n else f"{n} of {len(rows)} jobs differ in state.",
        rows=rows,
    )
    return faces.whole(f"{site.title}: runs {a.page.run} and {b.page.run}", body, site=site.name, here="runs")
