"""What a grab becomes: a generation of HOME/dqm/raw, if it has something that the newest one has not."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from dmtools.dqm import generations, places
from dmtools.dqm.robbing.page import Content


def store(place: Path, content: Content, *, backend: str, revision: int = 0) -> tuple[generations.Generation, bool]:
    """The generation that holds the content, and whether it was made now. Raises OSError."""
    newest = generations.newest(place)
    facts = {
        "print": content.print,
        "backend": backend,
        "run": str(content.run or ""),
        "running": str(content.running),
        "link": content.link,
        "lacking": ", ".join(content.lacking),
        "revision": str(revision),
    }
    if newest is not None and all(newest.manifest.facts.get(key) == facts[key] for key in ("print", "backend", "revision")):
        return newest, False
    return generations.publish(place, content.files, facts), True


def sweep(home: Path, site: str, *, live_page: bool) -> None:
    """Removes what a killed maker has left half made there. Only for the keeper of these places: else it may still be made."""
    grabs = places.raw(home) / site
    for place in [places.live(grabs)] if live_page else [places.run(grabs, number) for number in places.runs(grabs)]:
        with suppress(OSError):
            for path in [*place.glob(".new-*")]:
                shutil.rmtree(path, ignore_errors=True)
    if live_page:
        with suppress(OSError):
            for path in grabs.glob(".robber.json.*.tmp"):
                path.unlink(missing_ok=True)
