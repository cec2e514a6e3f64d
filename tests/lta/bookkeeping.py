"""What the tests of the books share: who asks, bundles that are added, and brought into any state by force."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import update

from dmtools.ledger import Ledger, open_ledger, tables
from dmtools.lta.api import LOCAL, OPERATOR, Books, answer
from dmtools.lta.api.bundles import AddBundles, Added, Advance, Bundle, BundleMove, Bundles, Claim, GetBundle, NewBundle
from dmtools.lta.api.sites import Heartbeat, SiteState
from dmtools.lta.books import Who
from dmtools.lta.direct import Direct
from dmtools.settings import Settings, load

SITE = "nersc"


def direct(home: Path, ledger: Ledger | None = None, who: Who | None = None, **lta: Any) -> Direct:
    """The books of a HOME, asked by an operator when nobody is named; `lta`: other settings than the HOME's."""
    settings: Settings = load(None, home)
    settings = msgspec.structs.replace(settings, lta=msgspec.structs.replace(settings.lta, **lta))
    return Direct(ledger or open_ledger(settings), who or Who("anna", OPERATOR, LOCAL), settings)


def new(name: str = "/exp/a.zip", content: str = "", **changed: Any) -> NewBundle:
    """A bundle that appears."""
    content = content or name
    values: dict[str, Any] = {"destination": SITE, "ideal": name, "home": "/home", "name": f"file:///out{name}"}
    values |= {"size": 1000, "sha512": hashlib.sha512(content.encode()).hexdigest(), "adler32": "00c0ffee"}
    return NewBundle(**{**values, **changed})


def add(books: Books, *bundles: NewBundle) -> tuple[Bundle, ...]:
    """Adds them."""
    return answer(books, AddBundles(bundles=bundles or (new(),)), Added).bundles


def take(books: Books, *states: str, most: int = 1, holder: str = "h", **more: Any) -> tuple[Bundle, ...]:
    """Claims."""
    ask = Claim(states=states, destination=more.pop("destination", SITE), most=most, holder=holder, **more)
    return answer(books, ask, Bundles).bundles


def move(books: Books, bundle: Bundle, to: str, **more: Any) -> Bundle:
    """Changes the state of a bundle that is held, with its own evidence."""
    proof: dict[str, Any] = {"size": bundle.size, "sha512": bundle.sha512, "adler32": bundle.adler32}
    one = BundleMove(id=bundle.id, fence=bundle.fence, before=bundle.state, to=to, **{**proof, **more})
    return answer(books, Advance(moves=(one,)), Bundles).bundles[0]


def again(books: Books, bundle: Bundle) -> Bundle:
    """The bundle as it stands now."""
    return answer(books, GetBundle(id=bundle.id), Bundle)


def force(books: Direct, bundle: Bundle, state: str, **values: Any) -> Bundle:
    """Puts a bundle into any state, past all rules, held by "h"."""
    row = {"state": state, "holder": "h", "fence": bundle.fence + 1, **values}
    table = tables.lta_bundle
    books.ledger.transact(lambda c: c.execute(update(table).where(table.c.id == bundle.id).values(row)))
    return again(books, bundle)


def post(books: Books, quota: int | None, name: str = SITE) -> SiteState:
    """The site tells its quota."""
    return answer(books, Heartbeat(name=name, state="Run", quota=quota, free=quota, host="cori01"), SiteState)
