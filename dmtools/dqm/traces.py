"""dm-trace for dqm: a page by its site, a run by its number, a job by its key: where it is, since when, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from dmtools import clock
from dmtools.control import hindrances, traces
from dmtools.control.entry import Entry, Match, Probing, Question, Trace
from dmtools.dqm import generations, outlook, pages, places, probes, record, standing
from dmtools.dqm.generations import Generation
from dmtools.dqm.record import Job, Page
from dmtools.dqm.standing import Stands
from dmtools.dqm.states import FRESH
from dmtools.settings.dqm import NAME

RUN = re.compile(rf"(?:({NAME})/)?(?:run ?)?({places.RUN})")
KEY = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{3,63}")
LATEST = 10  # generations that are told


def trace(q: Question) -> Iterator[Trace]:
    """Everything that has just this name."""
    if not standing.works(q.settings):
        return
    text = q.text.strip().removeprefix("dqm/")
    for one in standing.sites(q.settings, q.at):
        if one.name == text:
            yield of_page(q, one)
    if found := RUN.fullmatch(text):
        for site in standing.known(q.settings):
            if found[1] in (None, site):
                yield from _of_run(q, site, int(found[2]))
    if KEY.fullmatch(text):
        yield from (of_job(q, site, page, job) for site, page, job in _jobs(q) if job.key == text)


# ---- pages


def of_page(q: Question, one: Stands) -> Trace:
    """The live page of a site: who has what of it, and how it stands."""
    look = Probing(q.settings, q.connection, q.at)
    says, robber = one.says, one.robber
    facts = {
        "title": one.site.title,
        "true_at": clock.iso(one.verdict.true_at),
        "age_seconds": None if one.verdict.age is None else round(one.verdict.age, 1),
        "grabbed": _last(places.live(places.raw(q.settings.home) / one.name)),
        "published": _last(places.live(places.public(q.settings.home) / one.name)),
        "parser_wrote": clock.iso(says.at) if says else None,
        "robber_said": clock.iso(says.heard) if says else clock.iso(robber.at) if robber else None,
        "got_last": clock.iso(says.confirmed) if says else clock.iso(robber.confirmed) if robber else None,
        "data": clock.iso(says.data) if says else None,
        "link": outlook.link_word(says.link) if says else None,
        "running": says.running if says else None,
        "trouble": says.trouble if says else robber.trouble if robber else None,
        "trouble_since": clock.iso(says.trouble_since) if says else clock.iso(robber.since) if robber else None,
        "not_understood_since": clock.iso(says.broken_since) if says else None,
        "failures": robber.failures or None if robber else None,
        "next_try": clock.iso(robber.next_try) if robber else None,
        "browser": robber.browser if robber else None,
        "old_runs": list(map(str, says.old_runs)) if says else None,
    }
    why = "; ".join([*_held(q, one), outlook.said(look, one)])
    row = pages.row_of(q.connection, one.name)
    history = traces.journal(q, "dqm-page", row.id) if row is not None else []
    state = one.verdict.state
    return Trace(one.name, "dqm", "page", state, why, one.todo, facts, history, probes.PAGES.get(state, ""))


def _held(q: Question, one: Stands) -> Iterator[str]:
    """Who may not work, when it is not Fresh."""
    if one.verdict.state != FRESH:
        for component in ("robber", "parser"):
            found = hindrances.held(q.connection, q.settings, q.at, "dqm", component)
            yield from (hindrance.said for hindrance in found)


def _last(place: Path) -> str | None:
    found = generations.newest(place)
    return None if found is None else f"{found.path.name} of {clock.local(found.made)}"


# ---- runs


def _of_run(q: Question, site: str, number: int) -> Iterator[Trace]:
    """As an old run, and as what the live page shows now."""
    live = standing.live(q.settings, site)
    if live is not None and live[1].run == number:
        yield _shown(q, f"{site}/{number}", "live", live)
    grabs = list(generations.every(places.run(places.raw(q.settings.home) / site, number)))
    found = standing.run(q.settings, site, number)
    if found is not None:
        yield _shown(q, f"{site}/{number}", "published", found, grabs)
    elif grabs:
        says = next((one.says for one in standing.sites(q.settings, q.at) if one.name == site), None)
        broken = says is not None and number in says.old_broken
        why = "it was grabbed, and is not understood" if broken else "it was grabbed, and the parser has not read it yet"
        step = f"HOME/dqm/raw/{site}/runs has the place" if broken else "nothing: the parser's next round takes it"
        yield Trace(
            f"{site}/{number}", "dqm", "run", "broken" if broken else "grabbed", why, step, {}, _history(grabs, "dqm-robber")
        )


def _shown(q: Question, subject: str, state: str, found: tuple[Generation, Page], grabs: list[Generation] | None = None) -> Trace:
    generation, page = found
    places = generations.every(generation.path.parent)
    facts = {
        "site": page.site,
        "original_run": page.original_run,
        "grabbed": clock.iso(page.grabbed),
        "data": clock.iso(page.data),
        "published": f"{generation.path.name} of {clock.local(generation.made)}",
        "bytes": generation.size,
        "jobs": {state: n for state, n in record.counts(page.jobs).items() if n},
        "keys": [job.key for job in page.jobs],
        "graphs": [graph.name for graph in page.graphs],
        "withheld": page.withheld or None,
    }
    what = "the live page shows it" if page.live else "it is kept as an old run"
    why = f"{what}, as it was {clock.age((q.at - page.grabbed).total_seconds())} ago"
    history = [*_history(grabs or [], "dqm-robber"), *_history(list(places), "dqm-parser")]
    return Trace(subject, "dqm", "run", state, why, "", facts, sorted(history, key=lambda entry: entry.at))


def _history(found: list[Generation], by: str) -> list[Entry]:
    done = "grabbed" if by == "dqm-robber" else "published"
    return [Entry(one.made, None, None, by, f"{done} as {one.path.name}") for one in reversed(found[:LATEST])]


# ---- jobs


def of_job(q: Question, site: str, page: Page, job: Job) -> Trace:
    """A job as the newest page that has it shows it."""
    facts = {
        "site": site,
        "run": page.run,
        "host": job.host,
        "tag": job.tag,
        "data": clock.iso(job.at),
        "exit_code": job.exit_code,
        "lumi": job.lumi,
        "rss_bytes": job.rss_bytes,
        "events": job.events,
        "rate": job.rate,
        "log": job.log,
    }
    age = None if job.at is None else max(0.0, (q.at - job.at).total_seconds())
    why = f"it is {job.state}" + (f" with exit code {job.exit_code}" if job.exit_code else "")
    why += (
        f" in run {page.run} of {site}, by data of {clock.age(age)} ago" if age is not None else f" in run {page.run} of {site}"
    )
    step = ""
    if job.state == record.RUNNING and page.live and age is not None and age > q.settings.dqm.stuck_seconds:
        why, step = f"{why}: it tells nothing any more", "look at it inside: it is probably stuck"
    elif job.state == record.CRASHED:
        step = f"read its log: {job.log}" if job.log else "the page has no log of it"
    return Trace(job.key, "dqm", "job", job.state, why, step, facts)


def _jobs(q: Question) -> Iterator[tuple[str, Page, Job]]:
    """Of the live pages, then of the old runs."""
    for site in standing.known(q.settings):
        if (found := standing.live(q.settings, site)) is not None:
            yield from ((site, found[1], job) for job in found[1].jobs)
        for number in places.runs(places.public(q.settings.home) / site):
            if (old := standing.run(q.settings, site, number)) is not None:
                yield from ((site, old[1], job) for job in old[1].jobs)


# ---- parts of names ----------------------------------------------------------------------------------------------------


def search(q: Question) -> list[Match]:
    """Pages, runs and jobs whose name holds the text."""
    return [match for match in _all(q) if q.text.lower() in match.subject.lower()][: q.limit]


def _all(q: Question) -> Iterator[Match]:
    if not standing.works(q.settings):
        return
    yield from (Match(one.name, "page", one.verdict.state) for one in standing.sites(q.settings, q.at))
    for site in standing.known(q.settings):
        trees = ((places.raw(q.settings.home), "grabbed"), (places.public(q.settings.home), "published"))
        runs = {number: state for tree, state in trees for number in places.runs(tree / site)}
        live = standing.live(q.settings, site)
        if live is not None and live[1].run is not None:
            runs[live[1].run] = "live"
        yield from (Match(f"{site}/{number}", "run", runs[number]) for number in sorted(runs, reverse=True))
    seen = set()
    for _site, _page, job in _jobs(q):
        if job.key not in seen:
            seen.add(job.key)
            yield Match(job.key, "job", job.state)


def near(q: Question) -> list[Match]:
    """Names that look like one that was not found."""
    known = {match.subject: match for match in _all(replace(q, text=""))}
    return [known[name] for name in get_close_matches(q.text, known, n=3)]
