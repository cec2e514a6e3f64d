"""A pass of datalogger-json: what changed is made anew, then the page that names it, last; then it is brought to others."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from dmtools import __version__, clock
from dmtools.command.run import Refused
from dmtools.control.passes import Pass
from dmtools.datalogger.home import devices
from dmtools.datalogger.plots import anomalies, catalogue, figure, pages, places, rows, sending, series
from dmtools.datalogger.plots.catalogue import Entry
from dmtools.datalogger.plots.rows import Key
from dmtools.datalogger.stats import connecting
from dmtools.spool import folders

TOGETHER = 8  # devices whose rows are in memory at once


@dataclass
class Work:
    """One site in the making: where, of which statistics, what stood there before."""

    site: Path
    url: str
    home: str
    zone: ZoneInfo
    units: dict[str, str]
    before: places.State
    entries: dict[str, Entry] = field(default_factory=dict)
    made: int = 0


def run(this: Pass, out: Path | None, only: Sequence[str], *, again: bool, publish: bool) -> None:
    """Makes the site, or mends it, and brings it to [datalogger] publish. Raises Refused, Unavailable."""
    found = this.settings.datalogger
    own = this.settings.path(found.site)
    site = (out or own).absolute()
    if only and site == own.absolute():
        raise Refused("--device would take all other devices out of the site; say --out DIR for a site of these alone")
    if not site.parent.is_dir():
        raise Refused(f"{site.parent} is not there; make it first")
    resource = f"datalogger-site/{hashlib.sha256(str(site).encode()).hexdigest()[:16]}"
    if not this.dry_run and not this.leases.claim([resource]):
        this.log(f"another pass makes {site}")
        return
    try:
        before = places.State(form=places.FORM, left=places.read(site).left) if again else places.read(site)
        home = folders.id_for(this.home, dry_run=this.dry_run)
        named = _units(this)
        work = Work(site, connecting.url_of(this.settings), home, ZoneInfo(found.timezone), named, before)
        _make(this, work, resource, only)
        if publish and found.publish and site == own.absolute() and not this.dry_run:
            sending.send(this, site, found.publish)
    finally:
        this.leases.release([resource])


def _units(this: Pass) -> dict[str, str]:
    """Units as the settings say them, for devices that have no statistics yet."""
    try:
        return {name: device.units for name, device in devices(this.settings).items()}
    except Refused:
        return {}


def _make(this: Pass, work: Work, resource: str, only: Sequence[str]) -> None:
    with this.ledger.read() as connection:
        known = rows.marks(connection, work.url, work.home)
    known = _chosen(known, only)
    state = {key: f"{work.zone.key}|{work.units.get(key.name, '')}|{mark}" for key, mark in known.items()}
    kept = {key: work.before.devices.get(places.stem(key)) for key in state}
    changed = [key for key, mark in state.items() if not _stands(work.site, kept[key], mark)]
    if this.dry_run:
        for key in changed:
            this.plan(f"would make {places.stem(key)}.json of {work.site}")
        return
    places.prepare(work.site)
    work.entries = {places.stem(key): one for key, one in kept.items() if one is not None}
    for first in range(0, len(changed), TOGETHER):
        if not this.goes(new=False):
            return
        _figures(this, work, changed[first : first + TOGETHER], state)
    this.moved("changed", "made", len(changed))
    _publish(this, work, resource)


def _chosen(known: dict[Key, str], only: Sequence[str]) -> dict[Key, str]:
    if unknown := [name for name in only if not any(name in (key.name, places.stem(key)) for key in known)]:
        from difflib import get_close_matches

        near = get_close_matches(unknown[0], [key.name for key in known], n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(key.name for key in known) or 'none yet'}"
        raise Refused(f"nothing is known of a device {unknown[0]!r}; {hint}")
    return {key: mark for key, mark in known.items() if not only or {key.name, places.stem(key)} & set(only)}


def _stands(site: Path, entry: Entry | None, mark: str) -> bool:
    """Is its figure there, made of just this?"""
    if entry is None or entry.mark != mark:
        return False
    return all((site / name).exists() for name in (entry.script, f"{places.DATA}/{entry.file}.json"))


def _figures(this: Pass, work: Work, keys: Sequence[Key], marks: dict[Key, str]) -> None:
    """Makes the figures of a few devices: each as JSON under its plain name, and as a script under a name of its content."""
    with this.ledger.read() as connection:
        lacking = rows.missing(connection, work.home, keys)
    known = rows.statistics(work.url, keys)
    files: list[tuple[str, bytes]] = []
    for key in keys:
        one = series.of(key, known[key], lacking[key], work.zone, work.units.get(key.name, ""))
        found, stem = anomalies.of(one), places.stem(key)
        data = figure.of(one, found, work.zone)
        script = b'dmFigure("' + stem.encode() + b'", ' + data + b");\n"
        name = places.marked(f"{stem}.js", script)
        files += [(name, script), (f"{stem}.json", data + b"\n")]
        entry = catalogue.entry(one, found, stem)
        digest = hashlib.sha256(data + b"\n").hexdigest()
        work.entries[stem] = msgspec.structs.replace(entry, script=f"{places.DATA}/{name}", sha256=digest, mark=marks[key])
    work.made += places.put(work.site / places.DATA, files)


def _publish(this: Pass, work: Work, resource: str) -> None:
    """The scripts, what is for programs, then the pages that name them, index.html last; then what is for the next pass."""
    now, entries = clock.now(), [work.entries[stem] for stem in sorted(work.entries)]
    files = {**pages.assets(), "catalogue.js": catalogue.script(entries, work.zone, anomalies.RULE)}
    names = {name: f"{places.ASSETS}/{places.marked(name, data)}" for name, data in files.items()}
    places.put(work.site / places.ASSETS, [(places.marked(name, data), data) for name, data in files.items()])
    names["catalogue"] = names["catalogue.js"]
    facts = _facts(this, work, str(clock.iso(now))) | {"help": places.HELP}
    this.ledger.transact(lambda c: this.leases.check(c, this.leases.held[resource]))
    places.put(work.site, [(places.HELP, pages.help_page(names, facts))])
    places.put(work.site, [(places.LISTING, _listing(entries, facts))])
    places.put(work.site, [(places.INDEX, pages.index(names, facts))])
    wanted = {*names.values(), *_files(entries)}
    left = places.sweep(work.site, wanted, work.before.left, now)
    state = places.State(form=places.FORM, made=facts["made"], devices=work.entries, left=left)
    places.put(work.site, [(places.STATE, msgspec.json.encode(state))])
    this.log(f"{work.site}: {len(entries)} devices, {work.made} files new, {len(left)} kept for pages that are open")


def _files(entries: Collection[Entry]) -> set[str]:
    return {one.script for one in entries} | {f"{places.DATA}/{one.file}.json" for one in entries}


def _facts(this: Pass, work: Work, made: str) -> dict[str, str]:
    hours = this.settings.datalogger.site_hours
    return {
        "made": made,
        "old": f"{hours * 3600:.0f}",
        "source": connecting.shown(work.url),
        "home": str(this.home),
        "version": __version__,
        "timezone": work.zone.key,
        "rule": anomalies.RULE,
    }


def _listing(entries: Collection[Entry], facts: dict[str, str]) -> bytes:
    """For programs: where each figure is, and the sha256 of what belongs to this site."""
    told: dict[str, Any] = {"schema": 1, "made": facts["made"], "timezone": facts["timezone"], "version": facts["version"]}
    told["figures"] = {
        one.name: {"kind": one.kind, "json": f"{places.DATA}/{one.file}.json", "sha256": one.sha256, "points": one.points}
        for one in entries
    }
    return msgspec.json.encode(told) + b"\n"
