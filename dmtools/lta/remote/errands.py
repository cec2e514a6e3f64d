"""Errands: bundles back from tape into the export directory, and bundles read again on tape."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dmtools import durable, names
from dmtools.lta.remote.bundles import AWAY_SECONDS, PUT_OFF
from dmtools.lta.remote.client import Site, begin_all, mine, place_of, settle
from dmtools.lta.remote.job import system_of
from dmtools.lta.remote.jobfile import AWAY, DONE, FIXITY, GET, Outcome, TapeJob
from dmtools.lta.remote.server import Thing
from dmtools.lta.remote.tape import TapeError, path_on_tape

RUNNING = {"RetrieveRequest": "RetrievePending", "FixityRequest": "FixityRunning"}
ASKED = {running: asked for asked, running in RUNNING.items()}
GOOD = {"RetrievePending": "ExportReady", "FixityRunning": "FixityDone"}
BAD = {"RetrievePending": "RetrieveProblem", "FixityRunning": "FixityProblem"}


def follow(site: Site) -> None:
    """Books what became of the jobs. Raises BatchAway."""
    found = mine(site, "errands", list(site.server.errands(*ASKED)))
    ours = {}
    for one in found:
        if site.jobs.has(one["job"]):
            ours[one["job"]] = one
        else:
            _to(site, one, ASKED[one["state"]], why="its job is none of this HOME, and nobody has kept its claim")
    settle(site, "errands", ours, _shown, lambda one, outcome: _book(site, one, outcome))


def _book(site: Site, one: Thing, found: Outcome) -> None:
    if found.outcome == DONE:
        place = {"place": site.settings.export + one["bundle"]["ideal"]} if one["kind"] == "recall" else {}
        _to(site, one, GOOD[one["state"]], sha512=found.sha512, **place)
    elif found.outcome == AWAY:
        _to(site, one, ASKED[one["state"]], why=f"put off: {found.why}"[:1900], wait=AWAY_SECONDS)
        site.problem("put off", _shown(one), why=found.why, left="it waits", next=PUT_OFF)
    else:
        final = found.differs or found.cls in ("name", "occupied")
        more: dict[str, Any] = {"differs": found.differs} if final else {"failed": True}
        done = _to(site, one, BAD[one["state"]] if final else ASKED[one["state"]], why=f"{found.cls}: {found.why}"[:1900], **more)
        if done is not None:
            _tell(site, done, found)


def _tell(site: Site, one: Thing, found: Outcome) -> None:
    what = f"{one['state']} ({found.cls})"
    if one["state"] == "FixityProblem" and found.differs:
        left, step = "the file on tape was left as it is; its bundle is Quarantined", "look at the tape; is there another copy?"
    else:
        left, step = "the tape was not changed", "it is tried again by itself" if one["state"] in RUNNING else "ask for it again"
    site.problem(what, _shown(one), why=found.why, left=left, next=step, failed=True)


def _to(site: Site, one: Thing, state: str, **more: Any) -> Thing | None:
    done = site.server.change("errands", one, state, **more)
    if done is None:
        site.context.log(f"errand {one['id']} of {_shown(one)}: not {state}: another pass or a person was faster")
    else:
        site.moved(one["state"], done["state"])
        site.context.log(
            f"errand {one['id']} of {_shown(one)}: {one['state']} -> {done['state']}"
            + (f": {more['why']}" if "why" in more else "")
        )
    return done


def _shown(one: Thing) -> str:
    return names.shown(one["bundle"]["ideal"])


def begin(site: Site, asked: str) -> None:
    """Claims errands in this state, while there is room for jobs. Raises BatchAway."""
    if not site.free_jobs or not any(site.server.errands(asked)):
        return
    begin_all(site, "errands", [asked], _begin)


def _begin(site: Site, one: Thing) -> Thing | None:
    bundle, key = one["bundle"], site.jobs.key("errands", one["id"], one["fence"])
    try:
        path = path_on_tape(site.settings.tape_root, bundle["ideal"])
        site.tape.check_name(path)
        local = place_of(site.settings.remote_export, bundle["ideal"])
    except (TapeError, names.NameRefused) as problem:
        problems = {"RetrieveRequest": "RetrieveProblem", "FixityRequest": "FixityProblem"}
        _to(site, one, problems[one["state"]], why=str(problem)[:1900])
        return None
    places = {"local": names.encode(os.fsencode(local)), "tape": names.encode(os.fsencode(path)), "before": one["job"] or ""}
    kind = GET if one["kind"] == "recall" else FIXITY
    site.jobs.write(TapeJob(key, kind, bundle["size"], bundle["sha512"], **places, system=system_of(site.settings)))
    return _to(site, one, RUNNING[one["state"]], why=f"job {key}", job=key, keep=True)


def clean(site: Site) -> None:
    """What was fetched leaves the export directory."""
    if not Path(site.settings.remote_export).is_dir():
        return
    done = list(site.server.errands("DownloadDone"))
    ids = [one["id"] for one in done][:1000]
    for one in site.server.claim("errands", ["DownloadDone"], len(ids), ids) if ids else ():
        try:
            durable.remove(place_of(site.settings.remote_export, one["bundle"]["ideal"]))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as problem:
            why = problem.strerror or str(problem)
            site.problem("export copy stays", _shown(one), why=why, left="it was fetched", next="the next pass tries again")
            continue
        _to(site, one, "RemoteCleaned")
