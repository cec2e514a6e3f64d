"""Bundles from the buffer to tape: what ended is booked, what is new begins, what is proved leaves the buffer."""

from __future__ import annotations

import os

from dmtools import names
from dmtools.lta.remote import buffer
from dmtools.lta.remote.client import Site, begin_all, mine, place_of, settle
from dmtools.lta.remote.job import system_of
from dmtools.lta.remote.jobfile import AWAY, DONE, PUT, Outcome, TapeJob
from dmtools.lta.remote.server import Thing
from dmtools.lta.remote.tape import TapeError, path_on_tape

WAITING = ("PushDone", "NERSCProblem")
AWAY_SECONDS = 60
LEFT = "nothing was removed from the buffer"
PUT_OFF = "it is tried again; no attempt is counted"


def follow(site: Site) -> None:
    """Books what became of the jobs, and goes on with what another HOME left. Raises BatchAway."""
    found = mine(site, "bundles", list(site.server.bundles("NERSCRunning", "NERSCDone")))
    for one in found:
        if one["state"] == "NERSCDone":
            _clean(site, one)
    running = [one for one in found if one["state"] == "NERSCRunning"]
    ours = {one["job"]: one for one in running if site.jobs.has(one["job"])}
    for one in running:
        if one["job"] not in ours:
            _to(site, one, "PushDone", why=f"its job {one['job']} is none of this HOME, and nobody has kept its claim")
    settle(site, "bundles", ours, lambda one: names.shown(one["ideal"]), lambda one, outcome: _book(site, one, outcome))


def _book(site: Site, one: Thing, found: Outcome) -> None:
    """What a job told is evidence only as far as it is the bundle's own size and checksum."""
    if found.outcome == DONE and (found.size, found.sha512) != (one["size"], one["sha512"]):
        found = Outcome(found.key, "failed", "checksum", f"its job proved {found.size} bytes, sha512 {str(found.sha512)[:16]}...")
    if found.outcome == DONE:
        why = f"on tape, read back: {found.size} bytes, sha512 {str(found.sha512)[:16]}..."
        proof = {"size": found.size, "sha512": found.sha512, "tape": _tape(site, one), "keep": True}
        if (done := _to(site, one, "NERSCDone", why=why, **proof)) is not None:
            _clean(site, done)
    elif found.outcome == AWAY:
        _to(site, one, "PushDone", why=f"put off: {found.why}"[:1900], wait=AWAY_SECONDS)
        site.problem("put off", names.shown(one["ideal"]), why=found.why, left=LEFT, next=PUT_OFF)
    elif found.cls == "name":
        _set_aside(site, one, found.why)
    else:
        failed = _to(site, one, "NERSCProblem", why=found.why[:1900], failed=True, error_class=found.cls)
        if failed is not None:
            step = "it is tried again by itself" if failed["state"] == "NERSCProblem" else "see dm-trace at the source"
            site.problem(
                f"{failed['state']} ({found.cls})", names.shown(one["ideal"]), why=found.why, left=LEFT, next=step, failed=True
            )


def _tape(site: Site, one: Thing) -> str:
    return names.encode(os.fsencode(path_on_tape(site.settings.tape_root, one["ideal"])))


def _set_aside(site: Site, one: Thing, why: str) -> None:
    """No other try would help."""
    if _to(site, one, "Quarantined", why=why[:1900], error_class="name") is not None:
        step = "give it another name: abort it, and let it come again"
        site.problem("Quarantined (name)", names.shown(one["ideal"]), why=why, left=LEFT, next=step, failed=True)


def _to(site: Site, one: Thing, state: str, **more: object) -> Thing | None:
    done = site.server.change("bundles", one, state, **more)
    if done is None:
        site.context.log(f"{names.shown(one['ideal'])}: not {state}: another pass or a person was faster")
    else:
        site.moved(one["state"], done["state"])
        site.context.log(
            f"{names.shown(one['ideal'])}: {one['state']} -> {done['state']}" + (f": {more['why']}" if "why" in more else "")
        )
    return done


def _clean(site: Site, one: Thing) -> None:
    """Proved on tape: the buffer's copy goes, then the source is told."""
    if buffer.remove(site, one):
        _to(site, one, "NERSCClean")


def begin(site: Site) -> None:
    """Claims what waits in the buffer, while there is room for jobs. Raises BatchAway."""
    if site.health.buffer is not None or not site.free_jobs:
        return
    begin_all(site, "bundles", WAITING, _begin)


def _begin(site: Site, one: Thing) -> Thing | None:
    key = site.jobs.key("bundles", one["id"], one["fence"])
    try:
        path = path_on_tape(site.settings.tape_root, one["ideal"])
        site.tape.check_name(path)
        local = place_of(site.settings.remote_buffer, one["ideal"])
    except (TapeError, names.NameRefused) as problem:
        _set_aside(site, one, str(problem))
        return None
    places = {"local": names.encode(os.fsencode(local)), "tape": names.encode(os.fsencode(path)), "before": one["job"] or ""}
    site.jobs.write(TapeJob(key, PUT, one["size"], one["sha512"], **places, system=system_of(site.settings)))
    return _to(site, one, "NERSCRunning", why=f"job {key}", job=key, keep=True)
