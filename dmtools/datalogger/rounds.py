"""Windows asked for, a few at once: threads ask, the pass books. Each piece is in the draft before it is booked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.datalogger import drafts, fetching, gaps, wall, windows
from dmtools.datalogger.asking import Away, Logger
from dmtools.datalogger.fetching import Fetched, Wanted
from dmtools.datalogger.files import path_of, text_of
from dmtools.datalogger.gaps import Gap
from dmtools.datalogger.home import Home
from dmtools.datalogger.kinds import EVENT
from dmtools.datalogger.pacing import Pace
from dmtools.datalogger.reading import SAID, Trouble
from dmtools.datalogger.states import ASKED, DONE, EMPTY, ERROR, INCOMPLETE, LOST, OWED
from dmtools.datalogger.windows import Window
from dmtools.settings.datalogger import Device

LONGEST = timedelta(hours=6)  # between two attempts


@dataclass
class Rounds:
    """One pass over these windows. `away`: why the logger can't be reached; then nothing more is begun."""

    this: Pass
    home: Home
    devices: Mapping[str, Device]
    logger: Logger | None = None
    away: str = ""
    ended: int = 0
    by_hand: bool = False

    def __post_init__(self) -> None:
        self.pace = Pace(self.this.settings.datalogger.chunk_minutes)

    def run(self, found: Sequence[Window]) -> None:
        """Until all are asked for, the pass may not go on, or the logger is away."""
        waiting = list(reversed(found))
        crew = ThreadPoolExecutor(self.this.settings.datalogger.connections, "ask")
        open_: dict[Future[Fetched], Window] = {}
        try:
            while waiting or open_:
                while waiting and not self.away and len(open_) < self.this.settings.datalogger.connections:
                    if not self.this.goes():
                        waiting.clear()
                    elif (window := self._begin(waiting.pop())) is not None:
                        self._ask(crew, open_, window)
                if self.away:
                    waiting.clear()
                for future in wait(open_, return_when=FIRST_COMPLETED).done:
                    if (next_ := self._take(open_.pop(future), future)) is not None:
                        self._ask(crew, open_, next_)
        finally:
            crew.shutdown(wait=False, cancel_futures=True)

    def _begin(self, window: Window) -> Window | None:
        """Claims it, cuts its draft to what is booked, and books that it is asked for; None when somebody else has it."""
        if not self.this.leases.claim([window.resource]):
            return None
        with self.this.ledger.read() as connection:
            found = windows.by_ids(connection, [window.id]).get(window.id)
        if found is None or (found.state, found.since) != (window.state, window.since):
            self._leave(window)
            return None
        now = clock.now()
        path = path_of(found.draft) if found.draft else drafts.place(self.home.draft, self.home.id, found)
        values: dict[str, Any] = {"draft": text_of(path), "asked": now}
        device = self.devices.get(found.name)
        if device is not None and found.rows == 0 and found.failures == 0:
            values["node"] = device.node
        if not drafts.cut(path, found.rows, found.of_kind):
            self.this.log(f"{found.shown}: the draft {path} lacks what is booked; it is asked for from its beginning")
            values = {**windows.AFRESH, "upto": found.start, **values}
        found = replace(found, upto=values.get("upto", found.upto))
        values |= self._not_forgotten(found, now)
        if not self._tell_lost(found, values["upto"]):
            self._leave(found)
            return None
        if found.state == ASKED:
            booked = windows.book(self.this, found, values)
        else:
            booked = windows.advance(self.this, found, ASKED, None, values, now)
        if not booked:
            self._leave(found)
            return None
        return replace(found, state=ASKED, since=now, **values)

    def _not_forgotten(self, window: Window, now: datetime) -> dict[str, Any]:
        """Of a window that the logger has begun to forget, the rest is asked for."""
        gone = min(now - timedelta(days=self.this.settings.datalogger.keep_days), window.end)
        return {"upto": gone, "forgotten": gone} if gone > window.upto else {"upto": window.upto}

    def _tell_lost(self, window: Window, upto: datetime) -> bool:
        """Books what was lost up to there, and clears what a killed pass left; False when the window is not ours any more."""
        with self.this.ledger.read() as connection:
            left = gaps.unbooked(connection, window)
        why = f"the logger had forgotten it; before that: {window.reason or 'it was not asked for in time'}"
        lost = [gaps.lost(window.upto, upto, why)] if upto > window.upto else []
        return not (left or lost) or gaps.put(self.this, window, lost)

    def _ask(self, crew: ThreadPoolExecutor, open_: dict[Future[Fetched], Window], window: Window) -> None:
        """The next piece of it, in a thread; or its end, when nothing is left to ask for."""
        if window.upto >= window.end:
            self._end(window, None)
            return
        device = self.devices.get(window.name) or Device(name=window.name, hertz=0.0)
        span = window.upto.timestamp(), self.pace.end(window, self.home.zone).timestamp()
        wanted = Wanted(window.name, window.node or device.node, device.hertz, *span, window.kind)
        assert self.logger is not None
        open_[crew.submit(fetching.fetch, self.logger, wanted, self.this.settings.datalogger)] = window

    def _take(self, window: Window, future: Future[Fetched]) -> Window | None:
        """Drafts and books what came; gives the window when more of it is to be asked for."""
        try:
            found = future.result()
        except Away as problem:
            self.away = str(problem)
            self._back(window, self.away)
            return None
        upto = wall.instant(found.upto)
        self.pace.had(window, found.upto - found.wanted.start, len(found.rows))
        values: dict[str, Any] = {"upto": min(upto, window.end), "node": found.node}
        if len(found.rows):
            drafts.append_rows(path_of(window.draft or ""), window.rows, found.rows)
            values["rows"] = window.rows + len(found.rows)
        if len(found.seconds):
            values["first"] = window.first or wall.instant(float(found.seconds[0]))
            values["last"] = wall.instant(float(found.seconds[-1]))
        values |= {"stars": window.stars + len(found.starred), "doubles": window.doubles + found.doubles}
        if found.notes:
            values["reason"] = "; ".join(found.notes)[:1000]
        holes = self._holes(window, found)
        if gone := [one.end for one in holes if one.kind == LOST]:
            values["forgotten"] = max(gone)
        if holes and not gaps.put(self.this, window, holes):
            self._leave(window)
            return None
        if not windows.book(self.this, window, values):
            self.this.log(f"{window.shown}: taken over by another pass")
            self._leave(window)
            return None
        window = replace(window, **{"reason": None, **values})
        if found.trouble is not None or window.upto >= window.end:
            self._end(window, found.trouble)
            return None
        return window

    def _holes(self, window: Window, found: Fetched) -> list[Gap]:
        """What the answer lacks; where the logger has forgotten by now, it may have been there. Events come when they like."""
        near = window.last is not None and (window.forgotten is None or window.forgotten <= window.last)
        last = window.last.timestamp() if window.last is not None and near else None
        span = found.wanted.start, found.upto
        torn = last is None and window.upto > window.start
        holes = gaps.within(found.seconds, found.starred, span, found.wanted.hertz, last, torn=torn)
        limit = clock.now() - timedelta(days=self.this.settings.datalogger.keep_days)
        why = "the logger forgot it while it was asked for"
        if window.kind == EVENT:
            return [gaps.lost(window.upto, min(limit, wall.instant(found.upto)), why)] if window.upto < limit else []
        return [one if one.start >= limit else gaps.lost(one.start, one.end, why) for one in holes]

    def _end(self, window: Window, trouble: Trouble | None) -> None:
        """Done, empty, incomplete, in error, or lost, as far as it can be had."""
        now = clock.now()
        if trouble is not None:
            self._put_off(window, trouble, now)
        elif window.forgotten is not None and window.forgotten > window.start:
            why = f"the logger had forgotten what was before {wall.text(window.forgotten)}; the rest is here"
            windows.advance(self.this, window, LOST, why, {"reason": why, "error_class": None}, now)
            left = f"{window.rows} {window.of_kind.noun} are kept"
            self.this.problem("lost in part", window.shown, why=why, left=left, next="nothing can bring it back")
        else:
            state = DONE if window.rows or window.stars else EMPTY
            if windows.advance(self.this, window, state, window.reason, {"reason": window.reason, "error_class": None}, now):
                self.ended += 1
        self._leave(window)

    def _put_off(self, window: Window, trouble: Trouble, now: datetime) -> None:
        """It is asked for again later, and later each time."""
        failures = window.failures + 1
        pause = min(LONGEST, timedelta(minutes=self.this.settings.datalogger.retry_minutes) * 2 ** min(failures - 1, 20))
        why = f"{'the logger said: ' if trouble.kind == SAID else ''}{trouble}"
        values = {"failures": failures, "ready": now + pause, "error_class": trouble.kind, "reason": why}
        state = INCOMPLETE if window.upto > window.start and (window.rows or window.forgotten is None) else ERROR
        if windows.advance(self.this, window, state, why, values, now):
            left = (
                f"{window.rows} {window.of_kind.noun} up to {wall.text(window.upto)} are kept"
                if window.rows
                else "nothing of it is kept"
            )
            again = f"it is asked for again after {clock.local(now + pause)}"
            if self.by_hand:
                again = "the same command asks for the rest"
            self.this.problem(trouble.kind, window.shown, why=why, left=left, next=again)

    def _back(self, window: Window, why: str) -> None:
        """The logger is away, which is no failure of the window: it stands as before."""
        state = OWED if window.upto == window.start else INCOMPLETE
        windows.advance(self.this, window, state, f"not reached: {why}", {"reason": why}, clock.now())
        self._leave(window)

    def _leave(self, window: Window) -> None:
        self.this.leases.release([window.resource])
