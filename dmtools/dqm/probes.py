"""What dm-train-ok asks of dqm: each page's verdict by the files of this machine, and whether the trees are kept small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dmtools.control import holds, probes, troubles
from dmtools.control.display import size
from dmtools.control.entry import Figure, Probing
from dmtools.control.holds import Hold
from dmtools.dqm import outlook, places, standing
from dmtools.dqm.standing import Stands
from dmtools.dqm.states import BROKEN, DOWN, FRESH, STALE

OF_STATE = {FRESH: probes.OK, STALE: probes.WARNING, DOWN: probes.CRITICAL, BROKEN: probes.CRITICAL}
PAGES = {STALE: troubles.DQM_STALE, DOWN: troubles.DQM_DOWN, BROKEN: troubles.DQM_BROKEN}
OVER = 1.5  # so much more than its quota a tree may have: it is cleaned now and then


def figures(look: Probing) -> Iterable[Figure]:
    """All of it; nothing where nothing of dqm is."""
    if not standing.works(look.settings):
        return
    found = holds.open_holds(look.connection, look.settings, look.at)
    for one in standing.sites(look.settings, look.at):
        yield _page(look, one, found)
    yield from _trees(look)
    yield from _old_runs(look)


def _page(look: Probing, one: Stands, found: list[Hold]) -> Figure:
    """Its age and verdict; what a person halted is no alarm, and is told."""
    state, labels = one.verdict.state, {"pipeline": "dqm", "site": one.name}
    said = f"dqm: {one.name} is {state}: {outlook.said(look, one)}"
    judged = OF_STATE[state]
    halted = next((hold for hold in found if hold.state == "halt" and hold.kind != holds.AUTOMATIC and _concerns(hold)), None)
    if halted is not None and state in (STALE, DOWN):
        judged, said = probes.WARNING, f"{said}; {halted.sentence()}"
    elif one.todo:
        said += f"; {one.todo}"
    return Figure("page_age", labels, one.verdict.age, said, "s", state=judged, see=PAGES.get(state, ""))


def _concerns(hold: Hold) -> bool:
    return any(hold.covers("dqm", part) for part in ("robber", "parser"))


def _trees(look: Probing) -> Iterator[Figure]:
    for area in places.areas(look.settings):
        if area.path.is_dir():
            labels, taken = {"pipeline": "dqm", "tree": area.name}, standing.bytes_of(area.path)
            said = f"dqm: {area.path} has {size(taken)} of at most {size(area.quota)}"
            yield Figure("tree", labels, taken, said, "B", probes.over(OVER * area.quota), see=troubles.DQM_TREE)


def _old_runs(look: Probing) -> Iterator[Figure]:
    for one in standing.sites(look.settings, look.at):
        if one.says is not None:
            labels = {"pipeline": "dqm", "site": one.name}
            n, broken = len(one.says.old_runs), one.says.old_broken
            yield Figure("old_runs", labels, n, f"dqm: {n} old runs of {one.name} are kept")
            said = f"dqm: {len(broken)} old runs of {one.name} are not understood"
            yield Figure("old_broken", labels, len(broken), said, "", probes.over(0), see=troubles.DQM_BROKEN)
