"""The files of one bundle: which may go and which are gone already, then they go, each by its intent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dmtools import names
from dmtools.command import Unavailable
from dmtools.control.passes import Pass
from dmtools.lta.api.bundles import Bundle
from dmtools.lta.api.files import File
from dmtools.lta.deleting import intents, trash
from dmtools.lta.deleting.guards import Guards, Kept, look, refuse_changed
from dmtools.lta.deleting.intents import DELETE, TRASH, Intent
from dmtools.storage import StorageError
from dmtools.storage.local import LocalStore


@dataclass
class Going:
    """`intents`: what goes now, by LFN; `over`: what is gone; `kept`: how many are left, each told; `before`: earlier intents."""

    intents: dict[str, Intent] = field(default_factory=dict)
    over: list[str] = field(default_factory=list)
    kept: int = 0
    before: dict[str, Intent] = field(default_factory=dict)


def sort_out(this: Pass, guards: Guards, copies: Sequence[Bundle], files: Sequence[File], *, gone: bool, really: bool) -> Going:
    """Judges every file of a bundle, of which these are the copies; what is left is told.

    `really`: what a killed run left half is ended; else nothing is changed.
    """
    going = Going()
    ids = [one.id for one in copies]
    for number in reversed(ids):  # its own last: they win
        try:
            going.before |= intents.read(this.home, number)
        except ValueError as problem:
            step = "look at it; when all files are there or gone for good, remove it"
            raise Unavailable("damaged", "the record of deletions", str(problem), step) from None
    for file in files:
        try:
            path = guards.path_of(file)
            if (intent := _intent(this, guards, path, file)) is not None:
                going.intents[file.name] = intent
            else:
                _refuse_vanished(guards, path, file, going.before.get(file.name), ids, gone=gone, really=really)
                going.over.append(file.name)
        except Kept as problem:
            going.kept += 1
            _tell(this, file, str(problem))
    return going


def _intent(this: Pass, guards: Guards, path: bytes, file: File) -> Intent | None:
    found = look(path)
    if found is None:
        return None
    mark = refuse_changed(path, found, file)
    small = file.size <= this.settings.lta.trash_bytes and trash.same_disk(guards.root_of(path), path)
    return Intent(file.name, names.encode(path), TRASH if small else DELETE, mark.inode, mark.size, mark.mtime)


def _refuse_vanished(
    guards: Guards, path: bytes, file: File, before: Intent | None, ids: Sequence[int], *, gone: bool, really: bool
) -> None:
    """A file that is not there is deleted when we did it, or a person says so; never only because it isn't seen. Raises Kept."""
    root = guards.root_of(path)
    if (place := trash.find(root, path, ids)) is not None:
        _refuse_wrong_trash(place, path, file, really=really)
    elif before is not None and before.way == DELETE:
        if really:
            _end_delete(path, before)
    elif before is None and not gone:
        raise Kept("it is not there, and this command did not delete it; if that is right, add --gone")


def _refuse_wrong_trash(place: bytes, path: bytes, file: File, *, really: bool) -> None:
    """Killed between the rename and the second look, and it was another file by then: it is put back. Raises Kept."""
    found = look(place)
    if found is None:
        return
    try:
        refuse_changed(place, found, file)
    except Kept as problem:
        if really:
            trash.take_back(place, path)
        raise Kept(f"{problem}; it {'was' if really else 'will be'} put back from the trash") from None


def _end_delete(path: bytes, intent: Intent) -> None:
    """A delete that was killed between its two acts is ended."""
    try:
        LocalStore().delete(names.file_url(path), mark=intent.mark)
    except StorageError as problem:
        raise Kept(problem.reason) from None


def _tell(this: Pass, file: File, why: str) -> None:
    left, step = "it was left", "find out why; what the manifest lists, unchanged, goes with the next run"
    wanted = why.startswith("[lta] keep")
    step = "nothing: it is to stay, and so does its bundle's state" if wanted else step
    shown = names.shown(file.source or file.name)
    this.problem("file kept", shown, why=why, left=left, next=step, failed=not wanted)


def settle(this: Pass, guards: Guards, bundle: Bundle, going: Going) -> bool:
    """Deletes what is to go; False when one of them had to be left."""
    if going.intents:
        intents.write(this.home, bundle, going.before | going.intents)
    for intent in going.intents.values():
        path = names.decode(intent.path)
        try:
            if intent.way == TRASH:
                trash.put(guards.root_of(path), path, bundle.id, intent.mark)
            else:
                LocalStore().delete(names.file_url(path), mark=intent.mark)
            this.log(f"{intent.way}: {names.shown(intent.path)}, {intent.size} bytes")
        except FileNotFoundError:
            going.kept += 1  # somebody was quicker: the next run judges it
        except (Kept, StorageError, OSError) as problem:
            going.kept += 1
            why = problem.strerror or str(problem) if isinstance(problem, OSError) else str(problem)
            step = "look at it; the next run tries again"
            this.problem("file kept", names.shown(intent.path), why=why, left="it was left", next=step)
    return not going.kept
