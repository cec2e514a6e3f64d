"""Bad zips and their files are taken up again, as a person asks: sent to tape again, or zipped anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from dmtools import names
from dmtools.command import Refused
from dmtools.control.orders import who
from dmtools.control.passes import Pass
from dmtools.daq.claiming import claimed, take
from dmtools.daq.lfn import lfn_key
from dmtools.daq.states import BAD, WAITING, ZIPPED
from dmtools.daq.zips import F, Step, Z, Zip, by_ids, in_state
from dmtools.ledger.chunks import chunks
from dmtools.storage import Present, Unknown, client_for

LOOK_SECONDS = 900.0


@dataclass
class Chosen:
    """What the names mean: Bad zips, and names with which nothing can be done here, with the reason."""

    zips: dict[int, Zip] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)


def retry(this: Pass, wanted: Sequence[str]) -> None:
    """Takes up the Bad zips of these LFNs and error classes. Raises Refused when a name means nothing."""
    chosen = _choose(this, wanted)
    for name, why in chosen.others.items():
        this.problem("not taken up", name, why=why, left="it stays as it is", next=f"dm-trace {name}")
    found = sorted(chosen.zips.values(), key=lambda one: one.id)
    for part in chunks(found, 100):
        if this.dry_run:
            for one in part:
                this.plan(f"would take up {one.shown} again: {_plan(this, one) or 'it can not be looked at now'}")
            continue
        with claimed(this, part) as ours:
            _take_up(this, ours)


def _choose(this: Pass, wanted: Sequence[str]) -> Chosen:
    chosen = Chosen()
    for name in wanted:
        if name.startswith("/"):
            _by_lfn(this, name, chosen)
            continue
        with this.ledger.read() as connection:
            found = in_state(connection, BAD, Z.error_class == name)
        if not found:
            other = "an LFN begins with /; files without a zip are taken up by daq-transfer --retry"
            raise Refused(f"no zip is Bad with the class {name!r}; {other}")
        chosen.zips |= {one.id: one for one in found}
    return chosen


def _by_lfn(this: Pass, name: str, chosen: Chosen) -> None:
    keys = [lfn_key(one) for one in names.spellings(name)]
    with this.ledger.read() as connection:
        row = connection.execute(select(F.state, F.zip_id).where(F.lfn_key.in_(keys))).first()
        one = by_ids(connection, [row.zip_id]).get(row.zip_id) if row is not None and row.zip_id is not None else None
    if row is None:
        raise Refused(f"no file has the LFN {name}")
    if one is not None and one.state == BAD:
        chosen.zips[one.id] = one
    elif row.state != BAD:
        chosen.others[name] = f"it is not Bad but {row.state}"
    elif one is None:
        chosen.others[name] = "it has no zip yet; take it up with: daq-transfer --retry"
    else:
        chosen.others[name] = f"its zip is {one.state}, not Bad; take it up with: daq-transfer --retry"


def _plan(this: Pass, one: Zip) -> str | None:
    """The state that it goes to: its zip is at the site as it was tested, or it is made anew; None: that can't be told now."""
    if one.proved is not None or one.place is None or one.zip_checksum is None:
        return WAITING
    store = client_for(one.place, this.settings)
    if store is None:
        return None
    (look,) = store.look_many([one.place], checksum=True, deadline=LOOK_SECONDS)
    if isinstance(look, Unknown):
        return None
    equal = isinstance(look, Present) and (look.size, look.checksum) == (one.zip_size, one.zip_checksum)
    return ZIPPED if equal else WAITING


def _take_up(this: Pass, zips: Sequence[Zip]) -> None:
    steps = []
    for one in zips:
        after = _plan(this, one)
        if after is None:
            why, left = "the site storage can't say now whether its zip is there", "it stays Bad"
            this.problem("not taken up", one.shown, why=why, left=left, next="the same again later")
            continue
        clear = {"error_class": None, "reason": None}
        values = {**clear, "failures": 0, "next_try": None, "list_id": None}
        if after == WAITING:
            values |= {"zip_size": None, "zip_checksum": None, "proved": None}
        steps.append(Step(one, after, f"taken up again by {who()}", values, {**clear, "failures": 0}))
    for done in take(this, steps):
        this.context.say(f"{done.zip.shown} is {done.after} again; the next pass goes on with it")
