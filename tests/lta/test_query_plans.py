"""No ask of lta, and no query of its monitoring, grows with history: each searches an index on the tables that grow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event, insert

from dmtools import clock, names
from dmtools.ledger import Ledger, journal, open_ledger, schema, tables
from dmtools.lta.api import Ask
from dmtools.lta.api import bundles as b
from dmtools.lta.api import directories as d
from dmtools.lta.api import errands as e
from dmtools.lta.api import files as f
from dmtools.lta.api.sites import ListSites, Status
from dmtools.lta.direct import Direct
from dmtools.settings import load
from tests.control.queries import plans_on_mariadb, plans_on_sqlite, queries_of
from tests.lta.bookkeeping import direct, move, new, post, take

# A directory is full of thousands of files, so there are few, and their counts go through an index of them. The audit of a
# night goes through all that is proved.
GROWING = re.compile(r"\b(lta_bundle|lta_file|lta_errand|lta_catalogue|lta_answer|journal|flow|hold)(_\d+)?\b")
BY_KEY = re.compile(r"SEARCH \w+ USING .*\(.+[=<>].*\)")
BUNDLES = 3000
# Most are at their end; what is under way is few.
SHARES = {"LocalFilesDeleted": 900, "NERSCClean": 60, "Untouched": 30, "PushDone": 6, "NERSCRunning": 2, "Quarantined": 2}
Query = tuple[str, Any]


def fill(ledger: Ledger) -> None:
    """The tables of some years, past the books."""
    at = clock.now() - timedelta(days=1)
    stands = {"since": at, "ready": at, "fence": 0, "failures": 0}
    states = [state for state, n in SHARES.items() for _ in range(n)]
    made, files, errands, folders, catalogue, entries = ([] for _ in range(6))
    for number in range(1, BUNDLES + 1):
        ideal, key = f"/exp/{number}.zip", names.key(f"/exp/{number}.zip")
        state = states[number % len(states)]
        bundle = {
            "id": number,
            "destination": "nersc",
            "ideal": ideal,
            "ideal_key": key,
            "live_key": names.key(f"nersc\n{ideal}"),
        }
        bundle |= {"home": "h", "name": f"file:///o{ideal}", "size": 1000, "sha512": key.hex() * 2, "adler32": "00000001"}
        made.append({**bundle, **stands, "state": state, "reserved": 0, "proved": at})
        name = {"name": f"/exp/{number}", "name_key": names.key(f"/exp/{number}")}
        files.append({"bundle_id": number, **name, "size": 1, "sha512": key.hex() * 2, "adler32": "00000001"})
        errand = {"kind": "fixity", "bundle_id": number, "destination": "nersc", "state": "FixityDone", "asked_by": "x"}
        errands.append({**errand, **stands})
        path = {"ideal": f"/exp/{number}", "ideal_key": names.key(f"/exp/{number}"), "home": "h", "path": f"/w/{number}"}
        folders.append({**path, **stands, "state": "filesdeleted", "files": 1, "bytes": 1})
        catalogue.append({"lfn_key": names.key(f"/exp/{number}"), "lfn": f"/exp/{number}", "size": 1, "sha512": key.hex() * 2})
        entries.append({"at": at, "pipeline": "lta", "kind": "lta-bundle", "item": number, "to_state": state, "by": "x"})
    expected = [{"ideal_key": one["ideal_key"], "ideal": one["ideal"], "files": 1, "at": at} for one in folders]
    rows = {"lta_bundle": made, "lta_file": files, "lta_errand": errands, "lta_directory": folders, "lta_catalogue": catalogue}
    for name, some in (rows | {"lta_expected": expected, "journal": entries}).items():
        ledger.transact(lambda c, t=tables.metadata.tables[name], r=some: c.execute(insert(t), r))  # type: ignore[misc]
    for state, n in SHARES.items():
        count = n * BUNDLES // 1000
        ledger.transact(lambda c, s=state, k=count: journal.count_new(c, "lta", s, k, 1000 * k, at))  # type: ignore[misc]


def asks() -> Iterator[Ask]:
    """What workers ask all the time, and people now and then; each after all that was done by those before it."""
    yield ListSites()
    yield Status()
    page: dict[str, Any] = {"after": 100, "limit": 10}
    yield b.ListBundles(**page)
    yield b.ListBundles(states=("NERSCRunning", "NERSCDone"), destination="nersc", **page)
    yield b.ListBundles(states=("LocalFilesDeleted",), destination="nersc", **page)
    yield b.ListBundles(name="/exp/7.zip")
    yield b.ListBundles(directory_id=7)
    yield b.BundleHistory(id=7)
    yield b.Known(destination="nersc", names=("/exp/7.zip", "/exp/8.zip"))
    yield b.Glance(destination="nersc", names=("/exp/7.zip", "/exp/8.zip"))
    yield b.Claim(states=("PushDone", "NERSCProblem"), destination="nersc", most=20, holder="h", ids=(4, 5))
    yield f.ListFiles(id=7)
    yield f.FindFiles(name="/exp/7")
    yield f.AddFiles(id=7, files=(f.NewFile(name="/exp/7/a", size=1, sha512="0" * 128, adler32="0" * 8),))
    yield e.ListErrands(kind="fixity", states=("FixityRequest", "FixityRunning"), **page)
    yield e.ListErrands(bundle_id=7)
    yield e.AddErrands(kind="recall", bundles=(5,))
    yield e.ClaimErrands(states=("RetrieveRequest", "FixityRequest"), destination="nersc", most=5, holder="h")
    yield d.ListDirectories(states=("unclaimed",), **page)
    yield d.Expect(expected=(d.NewExpected(ideal="/exp2/a", files=1),))
    yield d.Full(home="h", seen=(d.Seen(ideal="/exp2/a", path="/w/a", files=1, bytes=1),))
    yield d.ClaimDirectories(states=("processing", "unclaimed"), home="h", holder="h")
    yield d.LoadCatalogue(files=(d.CatalogueFile(lfn="/exp2/a", size=1, sha512="0" * 128),))
    yield d.LookUp(lfns=("/exp/7",))


def steps(books: Direct) -> None:
    """A bundle on its way: added, claimed with room, changed, kept, handed back, given up."""
    books.do(b.AddBundles(bundles=(new("/exp2/a.zip", home="h"),)))
    one = take(books, "Untouched", "PushProblem", reserve=True, home="h")[0]
    held = (b.Held(id=one.id, fence=one.fence),)
    books.do(b.Extend(held=held))
    books.do(b.Release(held=held))
    many = take(books, "Untouched", most=20, reserve=True, home="h")
    for one in many[:2]:
        move(books, one, "JsonMade")
    books.do(b.Set(id=many[2].id, to="Abort", why="a test"))
    ask = b.Advance(moves=tuple(b.BundleMove(id=o.id, fence=o.fence, before=o.state, to="JsonMade") for o in many[3:]))
    books.do(ask)


@contextmanager
def heard(ledger: Ledger) -> Iterator[list[Query]]:
    """All that the database is asked meanwhile."""
    found: list[Query] = []

    def hear(_c: object, _k: object, said: str, values: Any, _x: object, many: bool) -> None:
        found.append((said, values[0] if many else values))

    event.listen(ledger.engine, "before_cursor_execute", hear)
    yield found
    event.remove(ledger.engine, "before_cursor_execute", hear)


def all_queries(home: Path, ledger: Ledger) -> list[Query]:
    """Of all asks, and of monitoring."""
    books = direct(home, ledger)
    post(books, 10**9)
    with heard(ledger) as found:
        for ask in asks():
            books.do(ask)
        steps(books)
    found += queries_of("dm-monitoring", home, "lta")
    found += queries_of("dm-train-ok", home, "lta")
    wanted = re.compile(r"^\(?(SELECT|WITH|UPDATE|DELETE)\b.*\blta_", re.DOTALL)
    return list({said: (said, values) for said, values in found if wanted.match(said)}.values())


def is_scan(step: str) -> bool:
    """Does it go through a whole table that grows?"""
    return GROWING.search(step) is not None and not BY_KEY.match(step)


def test_on_sqlite(home: Path) -> None:
    ledger = open_ledger(load(home=home))
    fill(ledger)
    queries = all_queries(home, ledger)
    with ledger.engine.connect() as connection:
        raw = connection.connection.driver_connection
        plans = list(plans_on_sqlite(raw, queries))
    ledger.close()
    assert len(plans) > 60
    assert [(query, step) for query, found in plans for step in found if is_scan(step)] == []


def test_on_mariadb(home: Path, mariadb: str) -> None:
    with (home / "dmtools.toml").open("a") as file:
        file.write(f'[database]\nurl = "{mariadb}"\n')
    ledger = open_ledger(load(home=home), check=False)
    schema.upgrade(ledger)
    fill(ledger)
    with ledger.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE TABLE lta_bundle, lta_file, lta_errand, lta_directory, lta_catalogue, journal").all()
    queries = all_queries(home, ledger)
    with ledger.engine.connect() as connection:
        plans = list(plans_on_mariadb(connection, queries))
    ledger.close()
    assert len(plans) > 60
    whole = [(query, table, kind) for query, table, kind, _ in plans if kind in ("ALL", "index") and GROWING.search(table)]
    assert whole == []
