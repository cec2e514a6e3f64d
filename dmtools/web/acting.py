"""What people may do on the page: say run, halt and drain as dm-command does, hand back leases as dm-leases does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection

from dmtools import clock
from dmtools.command.run import Refused
from dmtools.control import claims, holds, orders
from dmtools.control.holds import Hold
from dmtools.control.orders import Order
from dmtools.ledger import LedgerUnavailable
from dmtools.web import accounts, sessions, snapshots
from dmtools.web.news import News
from dmtools.web.sessions import Session
from dmtools.web.signing import NotAllowed, NotSignedIn

if TYPE_CHECKING:
    from dmtools.web.app import Setup

_REASON_LETTERS = 500


class Acting:
    """Each act asks the tables, not the last snapshot, whether its session and role are still good."""

    def __init__(self, setup: Setup, news: News) -> None:
        self._setup, self._news = setup, news

    def order(self, token: str, given: dict[str, str]) -> tuple[str, str]:
        """Books the word; gives (token, what to tell). Raises Refused, NotAllowed, NotSignedIn, LedgerUnavailable."""
        self._require_tables()
        order = self._read(given)

        def work(connection: Connection) -> tuple[list[Hold], list[Hold], Order]:
            session = _allowed(connection, token, accounts.SHIFTER)
            signed = Order(order.word, order.scopes, by(session), order.reason, order.until)
            ended = orders.obey(connection, signed, clock.now())
            return ended, holds.open_holds(connection, self._setup.settings, clock.now()), signed

        with snapshots.opened(self._setup.settings) as ledger:
            ended, left, signed = ledger.transact(work)
        told = _told(signed, ended, left)
        self._setup.log(told)
        return token, told

    def release(self, token: str, given: dict[str, str]) -> tuple[str, str]:
        """Hands back what dead passes hold; gives (token, what to tell). Raises as `order`."""
        self._require_tables()
        with snapshots.opened(self._setup.settings) as ledger:
            with ledger.read() as connection:
                session = _allowed(connection, token, accounts.OPERATOR)
            done = claims.hand_back(ledger, lambda claim: claim.holder in claims.OVER, by(session))
        names = ", ".join(claim.resource for claim in done.given)
        told = f"handed back by {by(session)}: {names}" if names else "nothing of a dead pass is held"
        self._setup.log(told)
        return token, told

    def _require_tables(self) -> None:
        if problem := self._news.look():
            raise LedgerUnavailable(problem, "")

    def _read(self, given: dict[str, str]) -> Order:
        word, until = given.get("word", "").lower(), given.get("until", "").strip()
        if word not in orders.WORDS:
            raise Refused(f"there is no control word {word!r}; say run, halt or drain")
        scope = self._setup.scope(given.get("scope", ""))
        reason = given.get("reason", "").strip()
        if len(reason) > _REASON_LETTERS:
            raise Refused(f"the reason is longer than {_REASON_LETTERS} letters")
        if word == "run" and until:
            raise Refused("an end is for halt and drain; run has none")
        return Order(word, (scope,), "", reason, orders.until(until) if until else None)


def by(session: Session) -> str:
    """Who did it, in the tables: no user of the machine can have a name with a colon."""
    return f"web:{session.user}"


def _allowed(connection: Connection, token: str, needed: str) -> Session:
    session = sessions.one(connection, token, clock.now())
    if session is None:
        raise NotSignedIn
    if not accounts.may(session.role, needed):
        raise NotAllowed(f"{session.user} is {accounts.article(session.role)}, and this needs the role {needed}.")
    return session


def _told(order: Order, ended: list[Hold], left: list[Hold]) -> str:
    scope = order.scopes[0]
    if order.word != "run":
        mine = [hold for hold in left if hold.scope == scope and hold.kind == holds.PERSON]
        return f"booked: {mine[-1].sentence()}" if mine else f"booked: {order.word} of {scope}"
    said = [f"run of {scope} by {order.by}: " + ("; ".join(f"ended: {hold.sentence()}" for hold in ended) or "nothing held it")]
    said += [f"it is held all the same: {hold.sentence()}" for hold in orders.still_held(scope, left)]
    return "; ".join(said)
