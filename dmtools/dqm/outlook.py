"""What dm-monitoring asks of dqm: how the pages stand now, by files; the old runs, the bytes, what must be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from dmtools import clock
from dmtools.control.display import size
from dmtools.control.entry import Buffer, Counted, Note, Probing, Stuck
from dmtools.dqm import pages, places, record, standing
from dmtools.dqm.standing import Stands
from dmtools.dqm.states import STATES


def works(look: Probing) -> bool:
    """Also a machine that only serves, where no pass ever runs, is judged."""
    return standing.works(look.settings)


def counts(look: Probing) -> Counted | None:
    """The live pages by state, as they stand now; None: nothing of dqm is here."""
    if not standing.works(look.settings):
        return None
    number = dict.fromkeys(STATES.names(), 0)
    since: dict[str, datetime] = {}
    for one in standing.sites(look.settings, look.at):
        state = one.verdict.state
        number[state] += 1
        came = _since(look, one)
        since[state] = min(since.get(state, came), came)
    return Counted(number, dict.fromkeys(number, 0), since)


def _since(look: Probing, one: Stands) -> datetime:
    """When it came into its state: as it was booked; when that is another state, since it is not known to be true any more."""
    row = pages.row_of(look.connection, one.name)
    if row is not None and row.state == one.verdict.state:
        found: datetime = row.since
        return found
    return one.verdict.true_at or look.at


def buffers(look: Probing) -> Iterator[Buffer]:
    """The disks of HOME, of the grabs and of what is served."""
    yield Buffer("HOME", look.settings.home)
    for area in places.areas(look.settings):
        if area.path.is_dir():
            yield Buffer(area.name, area.path)


def notes(look: Probing) -> Iterator[Note]:
    """A line for each page, for its old runs, for each tree."""
    if not standing.works(look.settings):
        return
    for one in standing.sites(look.settings, look.at):
        yield Note("page", one.name, one.verdict.state, said(look, one), one.verdict.is_good)
        if one.says is not None:
            yield _old_runs(one)
    named = {site.name for site in look.settings.dqm.sites}
    for name in standing.known(look.settings):
        if name not in named:
            yield Note("page", name, "unknown", "the settings name no such page: its files stay as they are")
    for area in places.areas(look.settings):
        if area.path.is_dir():
            yield Note("bytes", area.name, "used", f"{size(standing.bytes_of(area.path))} of at most {size(area.quota)}")


def said(look: Probing, one: Stands) -> str:
    """How a page stands, in a sentence: its run, its jobs, its age, and why it is not Fresh."""
    words = []
    found = standing.live(look.settings, one.name)
    if found is not None:
        page = found[1]
        jobs = ", ".join(f"{n} {state}" for state, n in record.counts(page.jobs).items() if n) or "no jobs"
        words.append(f"run {page.run if page.run is not None else 'none'}, {jobs}")
    words.append("never got" if one.verdict.age is None else f"true {clock.age(one.verdict.age)} ago")
    return "; ".join([*words, *filter(None, (one.verdict.why,))])


def _old_runs(one: Stands) -> Note:
    assert one.says is not None
    kept, broken = one.says.old_runs, one.says.old_broken
    words = [f"{len(kept)}" + (f", the newest {max(kept)}" if kept else "")]
    words += [f"{len(broken)} not understood: {', '.join(map(str, broken[:3]))}"] if broken else []
    return Note("old-runs", one.name, "kept", "; ".join(words), not broken)


def stuck(look: Probing) -> Iterator[Stuck]:
    """Pages that are Down or Broken."""
    for one in standing.sites(look.settings, look.at) if standing.works(look.settings) else ():
        if standing.is_alarm(one.verdict.state):
            yield Stuck(one.name, "page", one.verdict.state, _since(look, one), one.verdict.why, one.todo)


def link_word(state: str) -> str:
    """A link's state for people."""
    return {record.OPEN: "open", record.CLOSED: "closed", "": "not told by the page"}.get(state, "opening")
