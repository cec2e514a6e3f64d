"""dm-check --storage of lta: the bytes of zips here, of copies in the buffer and on a tape that can be seen from here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select

from dmtools import names
from dmtools.control.checking import Finding
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.types import AnyRow
from dmtools.lta import outbound, standing
from dmtools.lta import states as s
from dmtools.lta.check import WITH_ZIP
from dmtools.spool.folders import known_id

B = tables.lta_bundle.c
SAMPLE, PRIME = 20, 2_147_483_647


def _bundles(this: Pass, states: tuple[str, ...], how: str, seed: int) -> list[AnyRow]:
    """Bundles in these states: all, or a random sample that is the same at the second look."""
    query = select(tables.lta_bundle).where(B.state.in_(states))
    if how == "sample":
        query = query.order_by((B.id * seed) % PRIME, B.id).limit(SAMPLE)
    with this.ledger.read() as connection:
        return list(connection.execute(query))


def _zip(this: Pass, row: AnyRow) -> Iterator[Finding]:
    """The zip here, read whole."""
    path = Path(os.fsdecode(outbound.zip_of(this.settings, row.ideal)))
    yield from _compare(
        row, path, "the zip here", "zip-differs", "it is not deleted; if it is damaged, take it back: lta-restore"
    )


def check(this: Pass, how: str, seed: int) -> Iterator[Finding]:
    """A random sample, or all."""
    home = known_id(this.home)
    for row in _bundles(this, WITH_ZIP, how, seed):
        if row.home == home:
            yield from _zip(this, row)
    lta = this.settings.lta
    buffer = standing.directory(lta.buffer, this.settings, "remote/buffer")
    if buffer is not None and buffer.is_dir():
        for row in _bundles(this, (s.PUSH_DONE,), how, seed):
            place = buffer / os.fsdecode(names.decode(row.ideal).lstrip(b"/"))
            step = "the remote client finds that, too, and asks for it anew; nothing is on tape yet"
            yield from _compare(row, place, "its copy in the remote buffer", "buffer-differs", step)
    if lta.tape == "directory":
        yield from _tape(this, how, seed)


def _tape(this: Pass, how: str, seed: int) -> Iterator[Finding]:
    """A tape that is a directory, where it can be seen from here."""
    root = standing.directory(this.settings.lta.tape_root, this.settings, "remote/tape")
    if root is None or not root.is_dir():
        return
    for row in _bundles(this, s.PROVED, how, seed):
        place = (
            Path(os.fsdecode(names.decode(row.tape))) if row.tape else root / os.fsdecode(names.decode(row.ideal).lstrip(b"/"))
        )
        step = f"lta-audit {names.shown(row.ideal)} has the remote site read it, and quarantines it if that is so"
        yield from _compare(row, place, "its copy on tape", "tape-differs", step)


def _compare(row: AnyRow, place: Path, what: str, rule: str, step: str) -> Iterator[Finding]:
    from dmtools.lta.restoring.bundlezip import sha512_of
    from dmtools.storage import StorageError

    name = names.shown(row.ideal)
    if not place.exists():
        if rule != "zip-differs":  # that is told without --storage
            yield _finding(
                rule.replace("differs", "gone"), name, f"the bundle is {row.state}, and {what} is not there", step, row.id
            )
        return
    try:
        size, sha512 = sha512_of(os.fsencode(place))
    except StorageError as problem:
        yield Finding("lta", rule.replace("differs", "unread"), name, f"{what}: {problem.reason}", next="look again", note=True)
        return
    if (size, sha512) != (row.size, row.sha512):
        has = f"{what} has {size} bytes, sha512 {sha512[:12]}..., not {row.size}, {row.sha512[:12]}..."
        says = f"the bundle is {row.state}, and {has}"
        yield _finding(rule, name, says, step, row.id)


def _finding(rule: str, subject: str, says: str, step: str, item: int) -> Finding:
    return Finding("lta", rule, subject, says, next=step, item=item)
