"""A grab's files -> a FoundPage: of the page, or of its documents; where both are there they are compared."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from dmtools.dqm import record
from dmtools.dqm.generations import Generation
from dmtools.dqm.parsing import documents, dom
from dmtools.dqm.parsing.found import DIFFERS, NO_PAGE, RUN, FoundJob, FoundPage, NotUnderstood, Trouble

PAGE, DOCUMENTS = "page.html", "documents.json"
MOST_BYTES = 64 << 20
_MEANWHILE = timedelta(seconds=15)  # between the page and its documents: a job may have come
_SETTLED = timedelta(seconds=2)  # the page tells whole seconds: within one, newer documents have the same instant
_COMPARED = ("state", "exit_code", "host", "lumi", "events")


def understand(files: Mapping[str, bytes], generation: Generation, run: int | None = None) -> FoundPage:
    """`run`: the old run that it must be. Raises NotUnderstood."""
    html, given = files.get(PAGE), files.get(DOCUMENTS)
    if max(len(html or b""), len(given or b"")) > MOST_BYTES:
        raise NotUnderstood(Trouble(NO_PAGE, "it is larger than a page can be"))
    if html is None and given is None:
        raise NotUnderstood(Trouble(NO_PAGE, "neither page.html nor documents.json is in the grab"))
    if html is None:
        page = documents.read(given or b"")
    else:
        page = dom.read(html)
        dom.in_utc(page, grabbed(generation).timestamp(), _zone(generation))
        if given is not None:
            _compare(page, given, grabbed(generation))
    if run is not None and page.run != run:
        raise NotUnderstood(Trouble(RUN, f"{page.run} is shown where {run} should be"))
    return page


def grabbed(generation: Generation) -> datetime:
    """When the robber got it, by its clock."""
    told = generation.manifest.facts.get("grabbed")
    try:
        at = datetime.fromisoformat(told) if told else None
    except ValueError:
        at = None
    return at if at is not None and at.tzinfo is not None else generation.made


def _zone(generation: Generation) -> float | None:
    try:
        return float(generation.manifest.facts.get("zone", "0"))
    except ValueError:
        return None


def _compare(page: FoundPage, given: bytes, at: datetime) -> None:
    """Where both speak of the same instant of a job and say different things, nobody knows which is true."""
    try:
        other = documents.read(given)
    except NotUnderstood as problem:
        page.troubles += problem.troubles
        return
    page.secrets |= other.secrets
    if other.run != page.run:
        return  # a new run began between the two
    theirs = {job.id: job for job in other.jobs}
    for job in page.jobs:
        twin = theirs.pop(job.id, None)
        if twin is not None and job.at is not None and at - job.at >= _SETTLED:
            _compare_job(job, twin, page)
    for job in theirs.values():
        if job.at is not None and at - job.at > _MEANWHILE:
            page.troubles.append(Trouble(DIFFERS, f"{job.id} is in the documents and not in the page"))


def _compare_job(job: FoundJob, twin: FoundJob, page: FoundPage) -> None:
    if job.at != twin.at or job.state == record.UNKNOWN:
        return
    wrong = [name for name in _COMPARED if getattr(job, name) != getattr(twin, name) and getattr(job, name) is not None]
    if not wrong:
        return
    told = ", ".join(f"{name} {getattr(job, name)!r}, {getattr(twin, name)!r} in the documents" for name in wrong)
    page.troubles.append(Trouble(DIFFERS, f"{job.id}: {told}"))
    if "state" in wrong or "exit_code" in wrong:
        job.state, job.exit_code = record.UNKNOWN, None
    for name in ("lumi", "events"):
        if name in wrong:
            setattr(job, name, None)
