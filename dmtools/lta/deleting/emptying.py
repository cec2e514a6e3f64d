"""lta-manual-files: bundle by bundle, what may go goes, and what was done is booked; or it is put back.

Order: guards -> the intents, durable -> each file into the trash, or deleted -> LocalFilesDeleted -> the directory -> the intents
are filed. A kill anywhere leaves the intents in HOME/lta/deleting: the next run goes on with these bundles, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dmtools import names
from dmtools.control.display import size
from dmtools.control.passes import Pass
from dmtools.lta import holder, pages
from dmtools.lta.api import Books, Problem, answer
from dmtools.lta.api.bundles import Advance, Bundle, BundleMove, Bundles, Claim, GetBundle, ListBundles
from dmtools.lta.api.files import File, ListFiles
from dmtools.lta.deleting import directories, intents, trash
from dmtools.lta.deleting.files import Going, settle, sort_out
from dmtools.lta.deleting.guards import Guards, Kept
from dmtools.lta.gate import Gate
from dmtools.lta.restoring.wanted import alive, spellings
from dmtools.lta.states import LOCAL_DELETED, LOCAL_FILES_DELETED, PROVED

SECONDS = 10  # a claim for one change of state


@dataclass(frozen=True)
class How:
    """`really`: not only the plan. `gone`: a file that is not there counts as deleted, whoever did it."""

    really: bool
    gone: bool = False


def delete(this: Pass, asked: Sequence[str], how: How) -> int:
    """Deletes the files of these bundles, or of all that are in LocalDeleted; how many bundles. Raises Refused."""
    from dmtools.lta.home import id_of
    from dmtools.lta.office import books_of

    guards, books = Guards.of(this.settings.lta), books_of(this)
    gate = Gate(this, books)
    empty_trash(this, guards, really=how.really)
    done = 0
    for bundle in _chosen(this, books, asked, id_of(this)):
        done += 1
        if not gate.goes(new=False):
            break
        if not how.really:
            _bundle(this, books, guards, bundle, how)
        elif name := list(this.leases.claim([f"lta-manual-files-{bundle.id}"])):
            try:
                _bundle(this, books, guards, answer(books, GetBundle(id=bundle.id), Bundle), how)
            finally:
                this.leases.release(name)
        else:
            this.log(f"{names.shown(bundle.ideal)}: another run is at work with it")
    if not done and not asked:
        this.context.say(f"no bundle of this HOME is {LOCAL_DELETED}")
    return done


def empty_trash(this: Pass, guards: Guards, *, really: bool) -> None:
    """What is older than trash_days goes for good."""
    for day in trash.overdue(guards, this.settings.lta.trash_days):
        shown = os.fsdecode(day)
        if not really:
            this.context.say(f"would empty the trash {shown}")
            continue
        try:
            trash.empty(day)
            this.log(f"the trash {shown} was emptied")
        except OSError as problem:
            why, step = problem.strerror or str(problem), "look at its owner and mode; the next run tries again"
            this.problem("trash not emptied", shown, why=why, left="what is in it stays", next=step, failed=False)


# ---- which


def _chosen(this: Pass, books: Books, asked: Sequence[str], home: str) -> Iterator[Bundle]:
    """Each once. What is not to be touched is told, when it was asked for by name."""
    if not asked:
        begun = intents.begun(this.home)
        yield from (one for number in begun if (one := _unfinished(books, number)) is not None)
        found = pages.bundles(books, ListBundles(states=(LOCAL_DELETED,)))
        yield from (one for one in found if one.home == home and one.id not in begun)
        return
    for name in dict.fromkeys(asked):
        found = (one for spelt in spellings(name) for one in alive(pages.bundles(books, ListBundles(name=spelt))))
        ours = [one for one in found if one.home == home]
        may = [one for one in ours if one.state == LOCAL_DELETED or intents.place(this.home, intents.BEGUN, one.id).exists()]
        yield from may
        if not may:
            said = f"it is {ours[0].state}, not {LOCAL_DELETED}" if ours else "no bundle of this HOME has this name"
            _left(this, name, said, "look with: lta-dirinfo PART")


def _unfinished(books: Books, number: int) -> Bundle | None:
    try:
        return answer(books, GetBundle(id=number), Bundle)
    except Problem:
        return None


def _left(this: Pass, name: str, why: str, step: str) -> None:
    this.problem("files not deleted", name, why=why, left="no file of it was touched", next=step)


# ---- one bundle


def _bundle(this: Pass, books: Books, guards: Guards, bundle: Bundle, how: How) -> None:
    shown = names.shown(bundle.ideal)
    if bundle.state == LOCAL_DELETED:
        try:
            copies = _copies(this, books, bundle)
            directories.refuse_kept(books, bundle)
            files = list(_files(books, bundle))
        except Kept as problem:
            _left(this, shown, str(problem), "dm-trace says more of it")
            return
        going = sort_out(this, guards, copies, files, gone=how.gone, really=how.really)
        _tell_plan(this, bundle, going, really=how.really)
        if not how.really:
            return
        if not settle(this, guards, bundle, going):
            return
        if not _book(this, books, bundle, going):
            return
    elif bundle.state != LOCAL_FILES_DELETED:
        _left(this, shown, f"it is {bundle.state}, not {LOCAL_DELETED}", "take it out of there; then the same again")
        return
    if how.really and directories.book(this, books, bundle):
        intents.end(this.home, bundle.id)


def _copies(this: Pass, books: Books, bundle: Bundle) -> list[Bundle]:
    """This bundle and those of the same content, when enough of them are proved on tape. Raises Kept."""
    found = alive(pages.bundles(books, ListBundles(name=bundle.ideal)))
    same = [one for one in found if one.sha512 == bundle.sha512 and one.size == bundle.size]
    proved = {one.destination for one in same if one.state in PROVED and one.proved is not None}
    if len(proved) < this.settings.lta.copies:
        raise Kept(f"{len(proved)} copies are proved on tape, and [lta] copies asks for {this.settings.lta.copies}")
    return [bundle, *(one for one in same if one.id != bundle.id)]


def _files(books: Books, bundle: Bundle) -> Iterator[File]:
    """What its manifest lists, all of it, at least one file. Raises Kept."""
    found = list(pages.files(books, ListFiles(id=bundle.id)))
    if not found or len(found) != bundle.files:
        raise Kept(f"the tables have {len(found)} of the {bundle.files or 'unknown number of'} files that it holds")
    yield from found


def _tell_plan(this: Pass, bundle: Bundle, going: Going, *, really: bool) -> None:
    binned = [one for one in going.intents.values() if one.way == intents.TRASH]
    text = f"{names.shown(bundle.ideal)}: {len(going.intents)} files, {size(sum(one.size for one in going.intents.values()))}"
    text += f" ({len(binned)} into the trash)" if binned else ""
    text += f"; {len(going.over)} are gone already" if going.over else ""
    text += f"; {going.kept} are left" if going.kept else ""
    this.context.say(f"{'deletes' if really else 'would delete'} {text}")
    this.log(f"{'deletes' if really else 'would delete'} {text}")
    for one in going.intents.values() if this.context.verbose and not really else ():
        this.log(f"{one.way}: {names.shown(one.path)}")


def _book(this: Pass, books: Books, bundle: Bundle, going: Going) -> bool:
    """LocalFilesDeleted, when all that is listed is gone."""
    if going.kept:
        return False
    ask = Claim(
        states=(LOCAL_DELETED,), destination=bundle.destination, holder=holder.name(this.by), seconds=SECONDS, ids=(bundle.id,)
    )
    held = answer(books, ask, Bundles).bundles
    if not held:
        why, step = "its files are gone, but somebody else has just claimed it", "the same command again in a moment books it"
        left = f"it stays {LOCAL_DELETED}"
        this.problem("not booked", names.shown(bundle.ideal), why=why, left=left, next=step, failed=False)
        return False
    why = f"{len(going.intents)} files deleted here" + (f", {len(going.over)} were gone" if going.over else "")
    move = BundleMove(id=bundle.id, fence=held[0].fence, before=LOCAL_DELETED, to=LOCAL_FILES_DELETED, why=why)
    answer(books, Advance(moves=(move,)), Bundles)
    this.moved(LOCAL_DELETED, LOCAL_FILES_DELETED)
    return True


# ---- back


def put_back(this: Pass, asked: Sequence[str], *, really: bool) -> int:
    """Puts the files of these bundles back from the trash; how many. The states of the bundles stay. Raises Refused."""
    from dmtools.lta.home import id_of
    from dmtools.lta.office import books_of

    guards, books, home = Guards.of(this.settings.lta), books_of(this), id_of(this)
    done = 0
    for name in dict.fromkeys(asked):
        found = [one for spelt in spellings(name) for one in pages.bundles(books, ListBundles(name=spelt)) if one.home == home]
        inside = [(one.id, *pair) for one in found for root in guards.roots for pair in trash.content(root, one.id)]
        if not inside:
            why = "the trash has no file of it" if found else "no bundle of this HOME has this name"
            this.problem("not put back", name, why=why, left="nothing was changed", next="lta-restore brings them from tape")
        done += len(inside)
        for bundle, place, path in inside:
            _put_back(this, bundle, place, path, really=really)
    return done


def _put_back(this: Pass, bundle: int, place: bytes, path: bytes, *, really: bool) -> None:
    shown = names.shown(names.encode(path))
    if not really:
        this.context.say(f"would put back {shown}")
        return
    try:
        trash.take_back(place, path)
        intents.forget(this.home, bundle, names.encode(path))
        this.moved("trash", "back")
        this.context.say(f"put back {shown}")
    except FileExistsError:
        step = "move it away; then the same again"
        this.problem("not put back", shown, why="something stands there", left="both were left as they are", next=step)
    except OSError as problem:
        why, step = problem.strerror or str(problem), "mend that; then the same again"
        this.problem("not put back", shown, why=why, left="it stays in the trash", next=step)
