"""Files back from tape: each zip is fetched once, and a file appears only when its bytes are those of the books."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dmtools import names
from dmtools.command import Context, Refused, Unavailable
from dmtools.daq import fromtape
from dmtools.daq.fromtape import Member
from dmtools.daq.scratch import scratch
from dmtools.daq.staging import bring_online
from dmtools.daq.states import ON_TAPE
from dmtools.daq.wanted import Wanted
from dmtools.ledger.chunks import chunks
from dmtools.storage import Present, StorageError
from dmtools.storage.errnos import error_of
from dmtools.storage.local import LocalStore
from dmtools.storage.publish import adopt, prepare

HIDDEN = ".daq-restore-"
RESTORED = "Restored"
AT_ONCE = 100  # zips that are asked of the tape together
LOOK_SECONDS = 3600.0
Trouble = list[tuple[str, str]]  # (zip, why) of what could not be had now


def restore(context: Context, wanted: Sequence[Wanted], to: Path, *, wait: float) -> None:
    """Restores these files below `to`; what can't be had is told, the others go on. Raises Refused, Unavailable."""
    away: Trouble = []
    _make(to)
    for part in chunks([one for one in wanted if _lacks(context, one, to)], AT_ONCE):
        staged = bring_online([one.zip.url for one in part], context.settings, wait)
        for one in part:
            if (why := staged.away.get(one.zip.url)) is not None:
                away.append((one.zip.shown, why))
            elif (why := staged.lost.get(one.zip.url)) is not None:
                _tell(context, one, StorageError("missing", why))
            else:
                _restore(context, one, to, away)
    _settle(context, away)


def plan(context: Context, wanted: Sequence[Wanted], to: Path) -> None:
    """Says what would come from where; reads no tape."""
    for one in wanted:
        for lfn in one.lfns:
            context.plan(f"would restore {names.shown(lfn)} from {one.zip.shown} to {_shown(_target(to, lfn))}")


def _make(to: Path) -> None:
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise Refused(f"{to} can't be used as a directory: {problem.strerror}") from None


def _target(to: Path, lfn: str) -> bytes:
    return os.path.join(os.fsencode(to.absolute()), names.decode(lfn).lstrip(b"/"))


def _shown(path: bytes) -> str:
    return names.shown(names.encode(path))


# ---- what is there already -------------------------------------------------------------------------------------------


def _lacks(context: Context, one: Wanted, to: Path) -> bool:
    """Takes off the list what is there already, equal or not; whether anything is left to fetch."""
    if one.members is not None:
        one.lfns = [lfn for lfn in one.lfns if _is_free(context, one.members[lfn], _target(to, lfn))]
    return bool(one.lfns)


def _is_free(context: Context, member: Member, target: bytes) -> bool:
    if not os.path.lexists(target):
        return True
    (look,) = LocalStore().look_many([names.file_url(target)], deadline=LOOK_SECONDS)
    if look == Present(member.size, member.checksum):
        context.say(f"{names.shown(member.lfn)} is there already, equal: {_shown(target)}")
    else:
        _tell_occupied(context, member.lfn, target)
    return False


def _tell_occupied(context: Context, lfn: str, target: bytes) -> None:
    why = f"{_shown(target)} is there and is not this file"
    step = "move it away, or restore to another directory"
    context.problem("not restored", names.shown(lfn), why=why, left="it was left as it is", next=step)


# ---- one zip ---------------------------------------------------------------------------------------------------------


def _restore(context: Context, one: Wanted, to: Path, away: Trouble) -> None:
    key = names.key(one.zip.url).hex()[:12]
    try:
        with scratch(to, key, HIDDEN) as directory:
            path = fromtape.fetch(one.zip, directory, context.settings)
            if one.members is None:
                one.members = _of_manifest(one, path)
                if not _lacks(context, one, to):
                    return
            members = {lfn: one.members[lfn] for lfn in one.lfns}
            places = fromtape.unzip(one.zip, path, members, directory)
            for lfn, place in places.items():
                _publish(context, members[lfn], place, _target(to, lfn))
    except OSError as problem:
        _judge(context, one, error_of(problem, str(to), "written"), away)
    except StorageError as problem:
        _judge(context, one, problem, away)


def _of_manifest(one: Wanted, path: Path) -> dict[str, Member]:
    found = fromtape.manifest(one.zip, path)
    if lacking := [lfn for lfn in one.lfns if lfn not in found]:
        raise StorageError("missing", f"{one.zip.shown} does not hold {names.shown(lacking[0])}")
    return found


def _publish(context: Context, member: Member, place: Path, target: bytes) -> None:
    if member.mtime_ns is not None:
        os.utime(place, ns=(member.mtime_ns, member.mtime_ns))
    try:
        prepare(target, overwrite=False)
        adopt(os.fsencode(place), target, overwrite=False)
    except StorageError as problem:
        if problem.cls != "occupied":
            raise
        _tell_occupied(context, member.lfn, target)
        return
    context.report.moved(ON_TAPE, RESTORED)
    context.log(f"{names.shown(member.lfn)} is back: {_shown(target)}, {member.size} bytes, {member.checksum}")
    context.say(f"{names.shown(member.lfn)} -> {_shown(target)}")


def _judge(context: Context, one: Wanted, problem: StorageError, away: Trouble) -> None:
    if problem.wide:
        away.append((one.zip.shown, problem.reason))
    else:
        _tell(context, one, problem)


def _tell(context: Context, one: Wanted, problem: StorageError) -> None:
    steps = {
        "checksum": "read it again later: if it stays so, the tape has lost it; the site's copy may still be there (dm-trace)",
        "missing": "ask the tape's operators; the site's copy may still be there (dm-trace)",
    }
    for lfn in one.lfns:
        step = steps.get(problem.cls, "mend that, then the same command again")
        context.problem("not restored", names.shown(lfn), why=problem.reason, left="nothing of it was published", next=step)


def _settle(context: Context, away: Trouble) -> None:
    """What could not be had now: exit 75 when that is all there is to tell."""
    if not away:
        return
    step = "the same command again later: what is restored already is not fetched again"
    if not context.report.counts and not context.report.errors and len({why for _, why in away}) == 1:
        raise Unavailable("not restored", away[0][0], away[0][1], step, "nothing was published")
    for name, why in away:
        context.problem("not restored", name, why=why, left="nothing of it was published", next=step)
    if not context.report.counts and len(context.report.errors) == len(away):
        context.report.state = "unavailable"
