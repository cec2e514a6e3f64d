"""dqm-robber: a keeper for each site, started again when it dies; what the keepers tell goes into the account of the pass."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from dmtools.command import Refused, Unavailable
from dmtools.control.passes import Pass
from dmtools.dqm import places, record, standing
from dmtools.dqm.robbing import addresses, browsers, keeping, processes, rooms, storing, told
from dmtools.dqm.robbing.grabber import Errand
from dmtools.dqm.robbing.standing import back_off
from dmtools.dqm.robbing.told import Says

_ROUND_SECONDS = 1.0
_LEAVE_SECONDS = 8.0  # a keeper ends its browser in a tenth of a second, unless the disk hangs
_ONCE_SECONDS = 120.0  # beyond what a keeper itself gives its grabbers
_AGAIN_SECONDS = 600.0  # a trouble that stays the same is told again after so long
NEXT = {
    record.AWAY: "see whether the page's server and the network are up",
    record.REFUSED: "renew the cookies in [dqm] cookie_file",
    record.SLOW: "open the page in a browser of your own, and see whether it hangs there, too",
    record.NO_BROWSER: 'install it, or take [dqm] backend = "http"',
    record.WRONG: "see the log, and HOME/log/dqm-driver-*.log",
}


@dataclass
class Kept:
    """One keeper as the command has it. `due`: when it is to be started again, on time.monotonic's clock."""

    errand: Errand
    pid: int | None = None
    ear: told.Ear | None = None
    leash: int | None = None  # a pipe that ends with us: then the keeper leaves
    due: float = 0.0
    deaths: int = 0
    last: Says | None = None
    told: str = ""
    told_at: float = 0.0


class Robber:
    """All keepers. Raises Refused when a browser, its driver or the cookies can't be used, before anything is started."""

    def __init__(self, this: Pass, names: Collection[str], *, old: bool, once: bool) -> None:
        self._this, self._once = this, once
        self._kept = [Kept(Errand(site, this.settings, old, once)) for site in standing.named(this.settings, names)]
        if this.settings.dqm.backend == "browser":
            try:
                browsers.Tools(this.settings.dqm)
            except browsers.NoBrowser as problem:
                raise Refused(str(problem)) from None
        addresses.cookies(this.settings)

    def plan(self) -> None:
        """What it would do."""
        dqm = self._this.settings.dqm
        by = dqm.browser if dqm.backend == "browser" else "the JSON endpoint"
        for one in self._kept:
            what = f"the newest {dqm.old_runs} old runs" if one.errand.old else "the live page"
            site = one.errand.site.name
            self._this.plan(f"would grab {what} of {site} by {by} into {places.raw(self._this.home) / site}")

    def open(self) -> None:
        """Clears away what dead robbers left."""
        processes.adopt_orphans()
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for name in rooms.sweep_dead(self._this.home):
            self._this.log(f"{name}: cleared away what a robber that was killed had left")

    def tend(self, seconds: float = _ROUND_SECONDS) -> None:
        """Starts who is due, hears what they tell for so long, buries who died."""
        for one in self._kept:
            if one.pid is None and time.monotonic() >= one.due:
                self._start(one)
        ears = {one.ear.handle: one for one in self._kept if one.ear}
        ready, _, _ = select.select(list(ears), (), (), seconds)
        for handle in ready:
            self._hear(ears[handle])

    def once(self) -> None:
        """One pass: every page once. Raises Unavailable when none could be had."""
        limits = self._this.settings.dqm
        pages = max((limits.old_runs if one.errand.old else 1) for one in self._kept)
        deadline = time.monotonic() + _ONCE_SECONDS + pages * (3 * limits.grab_seconds + limits.sleep_seconds)
        for one in self._kept:
            self._start(one)
        while any(one.pid for one in self._kept) and time.monotonic() < deadline:
            self.tend(0.5)
            for one in self._kept:
                one.due = float("inf")  # who has ended has done its work
        self._all_away()

    def close(self) -> None:
        """Ends all keepers, and sees that nothing of theirs stays."""
        for one in self._kept:
            if one.leash is not None:
                os.close(one.leash)
                one.leash = None
        deadline = time.monotonic() + _LEAVE_SECONDS
        while (left := [one for one in self._kept if one.pid]) and time.monotonic() < deadline:
            ready, _, _ = select.select([one.ear.handle for one in left if one.ear], (), (), 0.5)
            for one in left:
                if one.ear and one.ear.handle in ready:
                    self._hear(one)
        processes.end_children()
        rooms.sweep_dead(self._this.home)

    # ---- one keeper --------------------------------------------------------------------------------------------------

    def _start(self, one: Kept) -> None:
        leash, mouth = os.pipe(), os.pipe()
        me = os.getpid()
        pid = os.fork()
        if not pid:
            _become(one.errand, leash[0], mouth[1], me)
        os.close(leash[0])
        os.close(mouth[1])
        one.pid, one.leash, one.ear, one.due = pid, leash[1], told.Ear(mouth[0]), float("inf")

    def _hear(self, one: Kept) -> None:
        messages = one.ear.hear() if one.ear else None
        if messages is None:
            self._bury(one)
            return
        for message in messages:
            if isinstance(message, Says):
                one.last, one.deaths = message, 0
                self._account(one, message)

    def _bury(self, one: Kept) -> None:
        """A keeper has ended. What it had started is ours now, and ends; the site gets another keeper, after a while."""
        if one.ear:
            os.close(one.ear.handle)
        if one.leash is not None:
            os.close(one.leash)
        code = _code(one.pid)
        one.pid = one.ear = one.leash = None
        processes.end_children(but=[other.pid for other in self._kept if other.pid])
        if (room := rooms.Room.take(self._this.home, one.errand.name)) is not None:
            storing.sweep(self._this.home, one.errand.site.name, live_page=not one.errand.old)
            room.leave()
        one.deaths += 1
        one.due = time.monotonic() + back_off(one.deaths, self._this.settings.dqm.back_off_seconds)
        if code < 0:
            why = f"its keeper was ended by signal {-code}"
            self._problem(one, "keeper killed", why, "it is started again", "see who kills it, or whether memory is short")

    # ---- the account -------------------------------------------------------------------------------------------------

    def _account(self, one: Kept, says: Says) -> None:
        name = says.name
        for note in says.told.notes:
            self._this.log(f"{name}: {note}")
        if says.busy:
            self._this.log(f"{name}: another dqm-robber has it; left to that one")
            return
        if says.told.lacking:
            text = f"{name}: not seen within [dqm] sleep_seconds: {', '.join(says.told.lacking)}"
            if self._is_news(one, text):
                self._this.log(text)
        if says.told.new:
            self._this.moved("old run" if one.errand.old else "live page", "grabbed")
        if says.told.trouble:
            run = f", run {says.told.run}" if says.told.run else ""
            left = (
                "what was grabbed before stays"
                if self._once
                else f"what was grabbed before stays; tried again in {says.wait:g} s"
            )
            self._problem(one, f"page {says.told.trouble}", says.told.why + run, left, NEXT[says.told.trouble])
        elif one.told and not says.told.lacking:
            self._this.log(f"{name}: got again")
            one.told = ""

    def _is_news(self, one: Kept, text: str) -> bool:
        """Is it another one than was told of this site last, or was that long ago? Then it is what was told last."""
        if one.told == text and time.monotonic() - one.told_at < _AGAIN_SECONDS:
            return False
        one.told, one.told_at = text, time.monotonic()
        return True

    def _problem(self, one: Kept, what: str, why: str, left: str, step: str) -> None:
        """A trouble of one site: told when it comes, and now and then while it stays."""
        refused = bool(one.last and one.last.told.trouble in (record.REFUSED, record.NO_BROWSER))
        if self._is_news(one, why) or self._once:
            self._this.problem(what, one.errand.site.name, why=why, left=left, next=step, failed=refused)

    def _all_away(self) -> None:
        """Raises Unavailable when every site was tried and none could be had, and that is not for us to mend."""
        last = [one.last for one in self._kept]
        if not last or any(says is None or says.busy or not says.told.trouble for says in last):
            return
        if any(says.told.trouble in (record.REFUSED, record.NO_BROWSER) for says in last if says):
            return
        problem = self._this.report.errors.pop() if self._this.report.errors else None
        if problem is not None:
            raise Unavailable(problem.what, problem.subject, problem.why, problem.next, problem.left)


def _become(errand: Errand, leash: int, mouth: int, command: int) -> None:
    """In the fork: a keeper, and nothing of what the command has open."""
    code = 1
    try:
        kept = sorted((leash, mouth))
        os.closerange(3, kept[0])
        os.closerange(kept[0] + 1, kept[1])
        os.closerange(kept[1] + 1, 1 << 16)
        keeping.keep(errand, leash, mouth, command)
        code = 0
    finally:
        os._exit(code)


def _code(pid: int | None) -> int:
    """How a child ended; negative: by that signal."""
    with suppress(ChildProcessError):
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 0
