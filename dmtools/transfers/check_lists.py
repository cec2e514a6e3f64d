"""dm-check for a pipeline's queue: the engine's open lists stand in their folders, and no other list does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from dmtools.control import checking
from dmtools.control.checking import Finding
from dmtools.control.passes import Pass
from dmtools.spool import folders as at
from dmtools.spool.folders import Folders
from dmtools.transfers import lists
from dmtools.transfers.road import Road


def misplaced(this: Pass, pipeline: str, home: str, folders: Folders) -> Iterator[Finding]:
    """The lists of this HOME that stand elsewhere, and what stands there and is unknown; without an id nothing can be told."""
    if not home:
        return
    there = {folder: set(folders.names(folder)) for folder in (at.TODO, at.DOING) if (folders.root / folder).is_dir()}
    held = checking.held(this)
    with this.ledger.read() as connection:
        rows = lists.by_state(connection, pipeline, home, lists.OPEN)
    for row in rows:
        folder = at.DOING if row.state == lists.DOING else at.TODO
        stands = [name for name, found in there.items() if row.name in found]
        if stands != [folder] and row.state in (lists.TODO, lists.DOING) and row.resource not in held:
            says = f"the tables have it in {folder}, it stands in {' and '.join(stands) or 'no folder'}"
            yield Finding(pipeline, "list-elsewhere", row.name, says, f"it is put into {folder}", item=row.id)
    known = {row.name for row in rows}
    for folder, found in there.items():
        for name in sorted(found - known):
            says = "the tables don't know it as open"
            yield Finding(pipeline, "unknown-list", f"{folder}/{name}", says, "it is set aside in run/set-aside")


def put_right(this: Pass, folders: Folders, by_rule: Mapping[str, Sequence[Finding]], road: Callable[[], Road]) -> None:
    """Sets aside what is unknown; the engine then puts its own lists where they belong."""
    for found in by_rule["unknown-list"]:
        folder, _, name = found.subject.partition("/")
        if folders.has(folder, name):
            path = folders.set_aside(folder, name)
            this.log(f"{found.subject}: set aside as {path}")
    if by_rule["list-elsewhere"] or by_rule["unknown-list"]:
        from dmtools.transfers import carry

        carry.mend(this, road())
