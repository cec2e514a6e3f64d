"""What dm-train-ok looks at: the freshness of each component, the oldest items, holds, leases, servers, free space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, or_, select
from sqlalchemy.engine import Row

from dmtools import clock
from dmtools.command.named import named
from dmtools.control import buffers, figures, hindrances, holds, sightings, troubles
from dmtools.control.cadence import patience
from dmtools.control.entry import Buffer, Component, Figure, Pipeline, Probing
from dmtools.control.holds import Hold
from dmtools.ledger import tables
from dmtools.settings import Settings

OK, WARNING, CRITICAL, UNKNOWN = "OK", "WARNING", "CRITICAL", "UNKNOWN"
AHEAD = 120  # seconds that clocks of hosts may differ


@dataclass
class Look:
    """One check: against this database at this instant, of `scope` (all, PIPELINE or PIPELINE/COMPONENT)."""

    settings: Settings
    connection: Connection
    at: datetime
    entries: dict[str, Pipeline]
    scope: str = "all"
    warning: str | None = None
    critical: str | None = None
    holds: list[Hold] = field(default_factory=list)
    ran: dict[str, dict[str, Row[Any]]] = field(default_factory=dict)
    devices: set[int | None] = field(default_factory=set)  # the disks that are judged already

    def __post_init__(self) -> None:
        """Reads who may work and who ran: what most probes need."""
        self.holds = holds.open_holds(self.connection, self.settings, self.at)
        for row in self.connection.execute(select(tables.component)):
            self.ran.setdefault(row.pipeline, {})[row.name] = row

    def judged(self) -> Iterator[tuple[Pipeline, dict[str, Row[Any]]]]:
        """The pipelines of the scope that work here, or ever did, and the rows of their components."""
        for name, entry in self.entries.items():
            if self.scope.partition("/")[0] in ("all", name) and (name in self.ran or self._works(entry)):
                yield entry, self.ran.get(name, {})

    def _works(self, entry: Pipeline) -> bool:
        """Without a pass that ran here: only what is served, or the like."""
        return bool(entry.works) and bool(named(entry.works)(Probing(self.settings, self.connection, self.at, entry)))

    def is_whole(self) -> bool:
        """Is it about more than one component?"""
        return "/" not in self.scope

    def covers(self, hold: Hold) -> bool:
        """Does the hold concern the scope?"""
        inner, outer = hold.scope, self.scope
        return "all" in (inner, outer) or inner == outer or inner.startswith(f"{outer}/") or outer.startswith(f"{inner}/")


def over(limit: float) -> str:
    """The range that is left when the value is over the limit."""
    return f"{limit:.15g}"


def under(limit: float) -> str:
    """The range that is left when the value is under the limit."""
    return f"{limit:.15g}:"


def age(look: Look, since: datetime) -> float:
    """Seconds since then."""
    return (look.at - since).total_seconds()


# ---- components --------------------------------------------------------------------------------------------------------


def components(look: Look) -> Iterator[Figure]:
    """The age of each component's last success against its cadence, and how often it failed in a row."""
    for entry, rows in look.judged():
        for component in entry.components:
            own = look.scope == f"{entry.name}/{component.name}"
            if own or (look.is_whole() and (component.name in rows or not component.optional)):
                yield from _component(look, entry, component, rows.get(component.name))


def _component(look: Look, entry: Pipeline, component: Component, row: Row[Any] | None) -> Iterator[Figure]:
    labels = {"pipeline": entry.name, "component": component.name}
    if component.cron or look.warning or look.critical:
        yield from _freshness(look, entry, component, row, labels)
    if row is not None:
        limit = look.settings.control.error_limit
        said = f"{entry.name}-{component.name} failed {row.errors_in_row} times in a row: {row.error_text}"
        quiet = f"{entry.name}-{component.name}: no error in its last pass"
        text = said if row.errors_in_row else quiet
        yield Figure("errors_in_row", labels, row.errors_in_row, text, critical=over(limit - 1))


def _freshness(
    look: Look, entry: Pipeline, component: Component, row: Row[Any] | None, labels: dict[str, str]
) -> Iterator[Figure]:
    name = f"{entry.name}-{component.name}"
    warning, critical = _limits(look, component)
    since = row.last_success if row is not None else None
    success = f"last success {clock.age(age(look, since))} ago" if since else "it never had a success"
    if since is None:
        since = _first_work(look, entry)
        if row is None:  # perhaps it is not in the crontab; in the first hours of a HOME perhaps only not yet due
            success, critical = "it never ran", "" if look.critical is None else critical
        elif row.last_error is None:  # its first pass runs
            since = row.last_start
        success += f", {entry.name} works since {clock.age(age(look, since))}"
    said = f"{name}: {success}"
    if row is not None and row.last_error and (row.last_success is None or row.last_error > row.last_success):
        said += f"; last error: {row.error_text}"
    family = "last_success_age"
    if age(look, since) < -AHEAD:
        ahead = f"{name}: its last success is {clock.age(-age(look, since))} in the future: a clock is wrong, or was set back"
        yield Figure(family, labels, 0.0, ahead, "s", state=WARNING, see=troubles.CLOCK)
        return
    held = [h for h in look.holds if h.kind != holds.AUTOMATIC and h.covers(entry.name, component.name) and h.state == "halt"]
    if held:
        yield Figure(family, labels, max(0.0, age(look, since)), f"{said}; {held[0].sentence()}", "s", state=OK)
        return
    after = max(since, _last_hold_end(look, entry.name, component.name, since))
    if after > since:
        said += f"; free again since {clock.age(age(look, after))}"
    names = (entry.name, component.name, component.cron, component.command)
    stands = next(hindrances.last_pass(row, look.settings, look.at, *names), None)
    see = stands.see if stands is not None else ""
    if stands is not None and see in (troubles.KILLED, troubles.HANGS):
        said += f"; {stands.said}; {stands.step}"
    yield Figure(family, labels, max(0.0, age(look, after)), said, "s", warning, critical, see=see)


def _limits(look: Look, component: Component) -> tuple[str, str]:
    if look.warning is not None or look.critical is not None:
        return look.warning or "", look.critical or ""
    factor, limits = patience(component.cron), look.settings.train_ok
    return over(limits.success_warning_seconds * factor), over(limits.success_critical_seconds * factor)


def _first_work(look: Look, entry: Pipeline) -> datetime:
    """When the first item came into any state (one look into the key of `flow` for each), else when the tables were made."""
    column = tables.flow.c
    found = []
    for state in entry.states.names():
        query = select(func.min(column.bucket)).where(column.pipeline == entry.name, column.state == state)
        found.append(look.connection.execute(query).scalar())
    made: datetime = look.connection.execute(select(tables.installation.c.created)).scalar_one()
    return min((when for when in found if when is not None), default=made)


def _last_hold_end(look: Look, pipeline: str, component: str, since: datetime) -> datetime:
    """When the last halt that covered it ended, if that was after `since`: a pass that had no chance is not late."""
    column = tables.hold.c
    scopes = ("all", pipeline, f"{pipeline}/{component}")
    ended = or_(column.cleared_at > since, column.cleared_at.is_(None))
    halts = (column.scope.in_(scopes), column.state == "halt", column.kind == holds.PERSON)
    query = select(column.until, column.cleared_at).where(ended, *halts)
    ends = [min(end for end in row if end is not None) for row in look.connection.execute(query) if any(row)]
    outages = look.settings.control.calendar
    ends += [clock.parse(outage.end) for outage in outages if outage.scope in scopes and outage.state == "halt"]
    return max((end for end in ends if since < end <= look.at), default=since)


# ---- items -------------------------------------------------------------------------------------------------------------


def items(look: Look) -> Iterator[Figure]:
    """Counts by state, the oldest of each open state, and those that need a person."""
    limits = look.settings.train_ok
    for entry, _ in look.judged() if look.is_whole() else ():
        stands = figures.counted(_probing(look), entry)
        number, size, oldest = stands.number, stands.size, stands.since
        for state in entry.states.names():
            labels = {"pipeline": entry.name, "state": state}
            yield Figure("items", labels, number[state], f"{entry.name} {state}: {number[state]}")
            yield Figure("size", labels, size[state], f"{entry.name} {state}: {size[state]} bytes", "B")
            if state in entry.open:
                seconds = max(0.0, age(look, oldest[state])) if state in oldest else 0.0
                said = f"{entry.name}: the oldest {state} is {clock.age(seconds)} old" if seconds else f"{entry.name}: no {state}"
                ranges = (over(limits.oldest_warning_seconds), over(limits.oldest_critical_seconds))
                yield Figure("oldest_age", labels, seconds, said, "s", *(ranges if state in entry.must_not_age() else ()))
        bad = sum(number[state] for state in entry.bad)
        states = " or ".join(entry.bad)
        if states:
            said = (
                f"{entry.name}: {bad} {states} need a person: {entry.person or entry.name + '-triage'}"
                if bad
                else f"{entry.name}: none {states}"
            )
            warning, critical = over(limits.bad_warning - 1), over(limits.bad_critical - 1)
            yield Figure("bad", {"pipeline": entry.name}, bad, said, "", warning, critical)


def duplicates(look: Look, entry: Pipeline) -> Iterator[Figure]:
    """What is being moved twice at once."""
    if entry.duplicates and look.is_whole():
        found = list(entry.ask("duplicates", _probing(look)))
        said = f"{entry.name}: nothing is moved twice"
        if found:
            said = f"{entry.name}: {len(found)} are being moved twice at once: {found[0]}; look at: dm-trace {found[0]}"
        yield Figure("duplicates", {"pipeline": entry.name}, len(found), said, "", over(0))


# ---- holds, leases, servers ----------------------------------------------------------------------------------------------


def held(look: Look) -> Iterator[Figure]:
    """Holds: a person's that is forgotten or past its time, and those that an error placed."""
    forgotten = look.settings.control.forgotten_hours
    found = [hold for hold in look.holds if look.covers(hold)]
    yield Figure("holds", {}, len(found), f"{len(found)} holds are in force")
    for hold in found:
        labels, seconds = {"hold": hold.scope}, age(look, hold.since)
        if hold.kind == holds.AUTOMATIC:
            yield Figure("hold_age", labels, max(0.0, seconds), hold.sentence(), "s", state=WARNING)
        elif hold.kind == holds.PERSON:
            said = f"{hold.sentence()}{'; forgotten? dm-command run ' + hold.scope if seconds > forgotten * 3600 else ''}"
            yield Figure("hold_age", labels, max(0.0, seconds), said, "s", over(forgotten * 3600))
        else:
            yield Figure("hold_age", labels, seconds, hold.sentence(), "s", state=OK)
    for hold in holds.uncleared(look.connection, (holds.PERSON,)):
        if hold.until is not None and hold.until <= look.at and look.covers(hold):
            over_for = age(look, hold.until)
            said = (
                f"past its time since {clock.age(over_for)}, so it holds nothing: {hold.sentence()}; dm-command run {hold.scope}"
            )
            yield Figure("hold_past", {"hold": hold.scope}, over_for, said, "s", state=WARNING)


def leases(look: Look, now: datetime) -> Iterator[Figure]:
    """Leases that ran out and that nobody took over; `now` is the database's clock."""
    if look.is_whole():
        column = tables.lease.c
        late = look.connection.execute(select(column.resource, column.host, column.expires).where(column.expires <= now)).all()
        said = "no lease is overdue"
        if late:
            first = min(late, key=lambda row: row.expires)
            ago = clock.age((now - first.expires).total_seconds())
            said = f"{len(late)} leases are overdue, the oldest since {ago}: {first.resource} of {first.host}; dm-leases --dead"
        yield Figure("leases_overdue", {}, len(late), said, "", over(0))


def servers(look: Look) -> Iterator[Figure]:
    """The servers of [fts] that the last passes found away, or that refused our credentials."""
    known = {server.name: server.weight for server in look.settings.fts.servers}
    for entry, _ in look.judged() if look.is_whole() else ():
        seen = sightings.servers_seen(look.connection, entry.name, sightings.AWAY)
        away = {name: row for name, row in seen.items() if name in known}
        for name, (since, why) in away.items():
            said = f"{entry.name}: {name} is away since {clock.age(age(look, since))}: {why}"
            yield Figure(
                "server_away", {"pipeline": entry.name, "server": name}, max(0.0, age(look, since)), said, "s", state=WARNING
            )
        seen = sightings.servers_seen(look.connection, entry.name, sightings.REFUSED)
        refused = {name: row for name, row in seen.items() if name in known}
        for name, (since, why) in refused.items():
            labels, seconds = {"pipeline": entry.name, "server": name}, max(0.0, age(look, since))
            said = f"{entry.name}: no credentials for {name} since {clock.age(seconds)}: {why}"
            yield Figure("credentials_refused", labels, seconds, said, "s", state=WARNING)
        gone = [*away, *refused]
        if gone and all(name in gone for name, weight in known.items() if weight > 0):
            how = "every FTS server is away" if not refused else "no FTS server can be used"
            said = f"{entry.name}: {how}: {', '.join(gone)}"
            see = troubles.CREDENTIALS if not away else ""
            yield Figure("servers_away", {"pipeline": entry.name}, len(gone), said, "", critical=over(0), see=see)


# ---- space, the pipelines' own -------------------------------------------------------------------------------------------


def home(look: Look) -> Iterator[Figure]:
    """HOME's own disk."""
    if look.is_whole():
        yield from _rooms(look, "", [Buffer("HOME", look.settings.home)])


def space(look: Look, entry: Pipeline) -> Iterator[Figure]:
    """Free space and inodes of each buffer of a pipeline; each disk once, whoever names it."""
    if look.is_whole():
        yield from _rooms(look, entry.name, entry.ask("buffers", _probing(look)))


def _rooms(look: Look, pipeline: str, wanted: Iterable[Buffer]) -> Iterator[Figure]:
    for buffer, room in buffers.measure(look.connection, pipeline, wanted):
        if room.device not in look.devices:
            yield from _room(look, buffer, room)
        look.devices |= {room.device} - {None}


def _room(look: Look, buffer: Buffer, room: buffers.Room) -> Iterator[Figure]:
    limits, labels = look.settings.train_ok, {"place": buffer.name}
    warning = under(limits.free_warning_percent if buffer.warning is None else buffer.warning)
    critical = under(limits.free_critical_percent if buffer.critical is None else buffer.critical)
    where = f" ({buffer.path})" if buffer.path is not None and str(buffer.path) != buffer.name else ""
    if room.posted is not None:
        old = age(look, room.posted)
        said = f"{buffer.name}: its free space was posted {clock.age(old)} ago"
        late = (over(limits.success_warning_seconds), over(limits.success_critical_seconds))
        yield Figure("posted_age", labels, max(0.0, old), said, "s", *late)
    if room.trouble:
        yield Figure("free_space", labels, None, f"{buffer.name}{where}: {room.trouble}", "%")
    if room.percent is not None and room.free is not None:
        said = f"{buffer.name}: {room.percent:.1f} % free, {room.free / 1e9:.1f} GB{where}"
        yield Figure("free_space", labels, round(room.percent, 2), said, "%", warning, critical)
    if room.inodes_free is not None:
        said = f"{buffer.name}: {room.inodes_free:.1f} % of the inodes free{where}"
        yield Figure("free_inodes", labels, round(room.inodes_free, 2), said, "%", warning, critical)


def own(look: Look, entry: Pipeline) -> Sequence[Figure]:
    """What a pipeline measures by itself."""
    return list(entry.ask("probes", _probing(look))) if look.is_whole() else ()


def _probing(look: Look) -> Probing:
    return Probing(look.settings, look.connection, look.at)
