"""What the tests of the scanner share: zips in outbound, the other site as its asks make it, passes, a look at both ends."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmtools.ledger import open_ledger
from dmtools.lta.api import LOCAL, OPERATOR, WORKER, Ask, answer
from dmtools.lta.api.bundles import AddBundles, Added, Advance, Bundle, BundleMove, Bundles, Claim, ListBundles, NewBundle
from dmtools.lta.api.sites import Heartbeat, ListSites, Sites, SiteState
from dmtools.lta.books import Who
from dmtools.lta.direct import Direct
from dmtools.settings import load
from tests.migrate.steps import Site
from tests.support import Result

OLD = 3600  # seconds: a zip that was written so long ago is settled
QUOTA = 1_000_000


@dataclass
class Outbound(Site):
    """A HOME whose bundles appear in outbound; the remote site is a worker that asks."""

    quota: int | None = QUOTA
    keys: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.set(retry_seconds=1)
        if self.quota is not None:
            self.posts(quota=self.quota)

    def set(self, **keys: Any) -> None:
        """[lta] keys, and one FTS server that takes all."""
        import json

        self.keys |= keys
        file = self.home / "dmtools.toml"
        text = file.read_text().partition("# the test's\n")[0]
        own = "".join(f"lta.{name} = {json.dumps(value)}\n" for name, value in self.keys.items())
        server = 'fts.servers = [{ name = "fts1", url = "sim:fts1", weight = 1 }]\n'
        kept = self.home / "dmtools.first"
        if not kept.exists():
            kept.write_text(text)
        file.write_text(own + server + kept.read_text())

    # ---- zips

    @property
    def outbound(self) -> Path:
        """Where bundles appear."""
        return self.home / "demo/lta/outbound"

    def zip(self, name: str | bytes, data: bytes | None = None, *, age: float = OLD) -> Path:
        """A zip in outbound, written so many seconds ago."""
        path = Path(os.fsdecode(os.fsencode(self.outbound) + b"/" + os.fsencode(name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(300) if data is None else data)
        os.utime(path, (time.time() - age,) * 2)
        return path

    def in_buffer(self, name: str | bytes) -> Path:
        """Where it comes to at the remote site."""
        return Path(os.fsdecode(os.fsencode(self.home / "demo/lta/remote/buffer") + b"/" + os.fsencode(name)))

    # ---- passes

    def scan(self, *args: object, codes: tuple[int, ...] = (0,), **how: Any) -> Result:
        """One pass."""
        return self.run("lta-bundle-scanner", "--json", *args, **how).gave(*codes)

    def ship(self, rounds: int = 6, codes: tuple[int, ...] = (0, 1)) -> None:
        """Passes until nothing is on its way; waiting times are taken away."""
        for _ in range(rounds):
            self.scan(codes=codes)
            self.over()
            self.due()
            if not {"Untouched", "JsonMade", "PushProblem", "Retry"} & set(self.states().values()):
                return

    def due(self) -> None:
        """What waits may go now."""
        super().due()
        with self.database() as db:
            db.execute("UPDATE lta_bundle SET ready = since WHERE holder IS NULL")

    # ---- the books

    @contextmanager
    def books(self, role: str = OPERATOR, site: str = LOCAL) -> Iterator[Direct]:
        """The books, as a worker of a site has them."""
        settings = load(home=self.home)
        ledger = open_ledger(settings)
        try:
            yield Direct(ledger, Who(f"test-{site}", role, site), settings)
        finally:
            ledger.close()

    def do(self, ask: Ask, *, site: str = LOCAL) -> Any:
        """One ask."""
        with self.books(OPERATOR if site == LOCAL else WORKER, site) as books:
            return books.do(ask)

    def posts(self, site: str = "nersc", state: str = "Run", **more: Any) -> None:
        """The remote site says how it is."""
        self.do(Heartbeat(name=site, state=state, host="cori01", **more), site=site)

    def site(self, name: str) -> SiteState:
        """How a site posted itself."""
        found: Sites = self.do(ListSites())
        return next(one for one in found.sites if one.name == name)

    def bundles(self) -> dict[str, Bundle]:
        """All bundles that are not given up, by name."""
        found: Bundles = self.do(ListBundles(limit=1000))
        return {one.ideal: one for one in found.bundles if one.state != "Abort"}

    def states(self) -> dict[str, str]:  # type: ignore[override]
        """Their states; what people are told of counts and bytes is the same."""
        found = self.bundles()
        rows = self.sql("SELECT state, SUM(n), SUM(bytes) FROM tally WHERE pipeline = 'lta' AND state != 'Abort' GROUP BY state")
        states = [one.state for one in found.values()]
        wanted = {s: (states.count(s), sum(one.size for one in found.values() if one.state == s)) for s in set(states)}
        assert {state: (n, size) for state, n, size in rows if n} == wanted
        return {name: one.state for name, one in found.items()}

    def to_tape(self, *ideals: str, destination: str = "nersc") -> None:
        """The remote site takes what is PushDone to NERSCClean."""
        with self.books(WORKER, destination) as books:
            ids = tuple(one.id for one in self.bundles().values() if one.ideal in ideals) if ideals else ()
            ask = Claim(states=("PushDone",), destination=destination, most=100, holder="test", ids=ids)
            for one in answer(books, ask, Bundles).bundles:
                proof = {"size": one.size, "sha512": one.sha512, "tape": "/tape" + one.ideal}
                steps: list[tuple[str, str, dict[str, Any]]]
                steps = [("PushDone", "NERSCRunning", {}), ("NERSCRunning", "NERSCDone", proof), ("NERSCDone", "NERSCClean", {})]
                for before, to, more in steps:
                    move = BundleMove(id=one.id, fence=one.fence, before=before, to=to, keep=to != "NERSCClean", **more)
                    answer(books, Advance(moves=(move,)), Bundles)

    def add(self, ideal: str, data: bytes, *, destination: str = "nersc", home: str | None = None) -> Bundle:
        """A bundle of the books alone."""
        import zlib

        home = home or (self.home / "run/home-id").read_text().strip()
        sums = {"sha512": hashlib.sha512(data).hexdigest(), "adler32": f"{zlib.adler32(data):08x}"}
        new = NewBundle(destination=destination, ideal=ideal, home=home, name=f"file:///elsewhere{ideal}", size=len(data), **sums)
        added: Added = self.do(AddBundles(bundles=(new,)))
        return added.bundles[0]


def strace(*rules: str, path: Path | None = None) -> tuple[str, ...]:
    """The prefix of a command that meets these faults: `inject=CALL:what:when=N`; `path`: only where it is about this."""
    only = ("-P", str(path)) if path is not None else ()
    return ("strace", "-f", "-qq", "-o", "/dev/null", *only, *(word for rule in rules for word in ("-e", f"inject={rule}")))


def told(result: Result) -> list[str]:
    """What a pass told: the `what` of its problems."""
    return [one["what"] for one in result.json["errors"]]


Make = Callable[..., Outbound]
