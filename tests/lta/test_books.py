"""The books: claims with fences, quotas, quarantine, evidence, names; by their own functions on real tables."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, delete, func, select, update

from dmtools.ledger import Ledger, open_ledger, schema, tables
from dmtools.lta.api import Conflict, Done, Problem, Wrong, answer
from dmtools.lta.api.bundles import (
    AddBundles,
    Added,
    BundleHistory,
    Bundles,
    Extend,
    Held,
    History,
    Known,
    ListBundles,
    Quarantine,
    Release,
    Reset,
    Set,
)
from dmtools.lta.api.sites import Figures, ListSites, Sites, Status
from dmtools.lta.direct import Direct
from dmtools.settings import load
from tests.lta.bookkeeping import SITE, add, again, direct, force, move, new, post, take
from tests.real_components import MariaDb

NAMES = ("/a%27b%22.zip", "/a%25b_c+d.zip", "/e@f!{g}.zip", "/%C3%BCml%C3%A4ut%0Anewline.zip", "/;DROP%20TABLE%20lta_bundle;--")


def at_once(n: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of n threads that begin together; a Problem is a result."""
    gate, results = threading.Barrier(n), [None] * n

    def one(number: int) -> None:
        gate.wait()
        try:
            results[number] = work(number)
        except Problem as problem:
            results[number] = problem

    threads = [threading.Thread(target=one, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.needs("mariadb"))])
def books(home: Path, request: pytest.FixtureRequest) -> Direct:
    """The books of a HOME, on sqlite and on a real MariaDB."""
    if request.param == "mariadb":
        file = home / "dmtools.toml"
        file.write_text(f'{file.read_text()}\n[database]\nurl = "{request.getfixturevalue("database")}"\n')
    found = direct(home, open_ledger(load(None, home)))
    if request.param == "mariadb":
        found.ledger.transact(_empty)
    return found


@pytest.fixture(scope="module")
def database(_mariadb_shared: MariaDb) -> Iterator[str]:
    """The tables on MariaDB, made once for all tests of the module; each finds them empty."""
    name = f"t{uuid.uuid4().hex}"
    _mariadb_shared.say(f"CREATE DATABASE {name}")
    url = _mariadb_shared.url_of(name)
    made = Ledger(create_engine(url), url)
    schema.upgrade(made)
    made.close()
    yield url
    _mariadb_shared.say(f"DROP DATABASE {name}")


def _empty(connection: Connection) -> None:
    for table in (tables.lta_bundle, tables.lta_site, tables.lta_file, tables.journal, tables.tally, tables.flow):
        connection.execute(delete(table))


def ready(books: Direct, number: int) -> None:
    """The claim of the bundle has run out."""
    table = tables.lta_bundle
    past = table.c.since
    books.ledger.transact(lambda c: c.execute(update(table).where(table.c.id == number).values(ready=past)))


def test_fifty_claimers_of_one_bundle_and_one_has_it(books: Direct) -> None:
    add(books)
    found = at_once(50, lambda number: take(books, "Untouched", holder=f"h{number}"))
    winners = [one[0] for one in found if one]
    assert len(winners) == 1
    assert again(books, winners[0]).holder == winners[0].holder


def test_a_killed_holder_is_reclaimed_when_its_time_is_over_and_the_zombie_is_refused(books: Direct) -> None:
    add(books)
    dead = take(books, "Untouched", holder="dead", seconds=1)[0]
    assert take(books, "Untouched", holder="heir") == ()
    ready(books, dead.id)
    heir = take(books, "Untouched", holder="heir")[0]
    assert heir.fence == dead.fence + 1
    with pytest.raises(Conflict, match="claimed by heir meanwhile"):
        move(books, dead, "JsonMade")
    assert answer(books, Extend(held=(Held(id=dead.id, fence=dead.fence),)), Done).done == 0
    assert move(books, heir, "JsonMade").state == "JsonMade"


def test_a_claim_that_ran_out_and_that_nobody_took_is_still_good(books: Direct) -> None:
    add(books)
    held = take(books, "Untouched")[0]
    ready(books, held.id)
    assert answer(books, Extend(held=(Held(id=held.id, fence=held.fence),)), Done).done == 1
    assert take(books, "Untouched") == ()
    assert move(books, held, "JsonMade").state == "JsonMade"


def test_a_claim_is_released_by_its_owner_alone_and_is_over_then(books: Direct) -> None:
    add(books)
    held = take(books, "Untouched", holder="owner")[0]
    assert answer(books, Release(held=(Held(id=held.id, fence=held.fence + 1), Held(id=999, fence=1))), Done).done == 0
    assert again(books, held).holder == "owner"
    assert answer(books, Release(held=(Held(id=held.id, fence=held.fence),)), Done).done == 1
    with pytest.raises(Conflict, match="handed back"):
        move(books, held, "JsonMade")
    assert take(books, "Untouched")[0].id == held.id


def test_quota_is_reserved_by_the_claim_and_claimers_at_once_never_have_more_than_it(books: Direct) -> None:
    add(books, *(new(f"/{n}", size=100) for n in range(20)))
    post(books, 550)
    found = at_once(8, lambda number: take(books, "Untouched", most=3, holder=f"h{number}", reserve=True))
    got = [one for some in found for one in some]
    assert len(got) == len({one.id for one in got}) == 5
    assert answer(books, ListSites(), Sites).sites[0].reserved == 500


def test_while_the_quota_is_not_known_nothing_is_claimed_that_needs_it(books: Direct) -> None:
    add(books)
    assert take(books, "Untouched", reserve=True) == ()
    post(books, None)
    assert take(books, "Untouched", reserve=True) == ()
    post(books, 0)
    assert again(books, add(books)[0]).state == "Untouched"


def test_a_bundle_larger_than_the_whole_quota_is_quarantined_and_the_next_goes(books: Direct) -> None:
    large, small = add(books, new("/large", size=10_000), new("/small", size=10))
    post(books, 5000)
    assert [one.id for one in take(books, "Untouched", most=5, reserve=True)] == [small.id]
    stands = again(books, large)
    assert (stands.state, stands.origin, stands.error_class) == ("Quarantined", "Untouched", "quota")
    assert "more than the whole quota" in (stands.reason or "")


def test_room_is_given_back_when_nothing_lies_in_the_buffer_any_more(books: Direct) -> None:
    post(books, 10_000)
    reserved = lambda: answer(books, ListSites(), Sites).sites[0].reserved  # noqa: E731

    def pushed(name: str) -> Any:
        add(books, new(name))
        return move(books, take(books, "Untouched", reserve=True)[0], "JsonMade", keep=True)

    add(books, new("/released"))
    held = take(books, "Untouched", reserve=True)[0]
    assert reserved() == 1000
    books.do(Release(held=(Held(id=held.id, fence=held.fence),)))
    assert reserved() == 0
    books.do(Set(id=held.id, to="Abort", why="test"))
    one = move(books, pushed("/clean"), "PushDone")
    for to in ("NERSCRunning", "NERSCDone", "NERSCClean"):
        assert reserved() == 1000
        one = move(books, take(books, one.state)[0], to)
    assert (reserved(), one.reserved) == (0, 0)
    one = pushed("/quarantined")
    books.do(Quarantine(id=one.id, why="test"))
    assert reserved() == 0
    assert answer(books, Reset(id=one.id, why="test"), type(one)).reserved == 1000
    assert reserved() == 1000
    one = move(books, take(books, "JsonMade")[0], "PushProblem")
    assert reserved() == 1000
    books.do(Set(id=one.id, to="Retry", why="test"))
    assert reserved() == 0


def test_a_failed_step_waits_longer_each_time_and_is_quarantined_after_so_many_attempts(home: Path) -> None:
    books = direct(home, max_attempts=4, retry_seconds=100)
    add(books)
    waits = []
    for attempt in range(1, 5):
        one = take(books, "Untouched", "PushProblem")[0]
        one = move(books, one, "JsonMade", keep=True)
        one = move(books, one, "PushProblem", failed=True, why="no route", error_class="network")
        waits.append(round((one.ready - one.since).total_seconds()))
        assert one.failures == attempt
        ready(books, one.id)
    assert waits == [100, 200, 400, 0]
    assert (one.state, one.origin, one.reason, one.error_class) == (
        "Quarantined", "JsonMade", "no route; attempt 4 of 4", "network",
    )  # fmt: skip


def test_reset_returns_to_the_origin_with_a_reason_and_clears_the_claim_and_the_failures(books: Direct) -> None:
    one = force(books, add(books)[0], "NERSCRunning", failures=3, job="7")
    books.do(Quarantine(id=one.id, why="its tape is torn", fence=one.fence))
    stands = again(books, one)
    assert (stands.state, stands.origin, stands.reason, stands.holder) == (
        "Quarantined",
        "NERSCRunning",
        "its tape is torn",
        None,
    )
    with pytest.raises(Problem):
        books.do(Reset(id=one.id, why=""))
    books.do(Reset(id=one.id, why="mended"))
    back = again(books, one)
    assert (back.state, back.origin, back.holder, back.failures, back.job) == ("NERSCRunning", None, None, 0, None)
    assert back.fence == one.fence + 2
    with pytest.raises(Conflict):
        move(books, one, "NERSCDone")
    steps = answer(books, BundleHistory(id=one.id), History).steps
    assert [(step.to, step.why) for step in steps[-2:]] == [("Quarantined", "its tape is torn"), ("NERSCRunning", "mended")]


def test_a_persons_word_ends_the_claim_of_whoever_has_the_bundle(books: Direct) -> None:
    for name, ask in (("/a", lambda n: Set(id=n, to="Abort", why="test")), ("/b", lambda n: Quarantine(id=n, why="test"))):
        add(books, new(name))
        held = take(books, "Untouched")[0]
        books.do(ask(held.id))
        with pytest.raises(Conflict):
            move(books, held, "JsonMade")
        stands = again(books, held)
        assert (stands.holder, stands.fence) == (None, held.fence + 1)


def test_a_bundle_is_added_once_also_by_many_at_once_and_other_content_is_a_conflict(books: Direct) -> None:
    found = at_once(12, lambda number: add(books, new("/a"), new(f"/b{number % 3}")))
    assert len({bundle.id for some in found for bundle in some}) == 4
    with pytest.raises(Conflict, match="another size"):
        add(books, new("/c"), new("/a", size=5))
    assert answer(books, Known(destination=SITE, names=("/a", "/c")), Bundles).bundles == (found[0][0],)
    assert answer(books, Status(), Figures).counts["Untouched"] == 4
    books.do(Set(id=found[0][0].id, to="Abort", why="test"))
    assert answer(books, AddBundles(bundles=(new("/a", size=5),)), Added).new == 1


def test_the_same_content_under_another_name_is_told_as_a_duplicate(books: Direct) -> None:
    first, second = add(books, new("/a", "same"), new("/b", "same"))
    assert (first.twin, again(books, second).twin) == (None, first.id)
    assert answer(books, Status(), Figures).duplicates == 1


def test_success_needs_evidence_and_the_evidence_must_be_the_bundles_own(books: Direct) -> None:
    one = force(books, add(books)[0], "JsonMade")
    with pytest.raises(Wrong, match="needs evidence"):
        move(books, one, "PushDone", size=None, sha512=None, adler32=None)
    with pytest.raises(Wrong, match="needs evidence"):
        move(books, one, "PushDone", sha512=None, adler32=None)
    with pytest.raises(Conflict, match="not proved"):
        move(books, one, "PushDone", size=999)
    with pytest.raises(Conflict, match="not proved"):
        move(books, one, "PushDone", adler32="00000000")
    one = force(books, again(books, one), "NERSCRunning")
    with pytest.raises(Wrong, match="size and sha512"):
        move(books, one, "NERSCDone", sha512=None)
    with pytest.raises(Conflict, match="not proved"):
        move(books, one, "NERSCDone", sha512="0" * 128)
    assert again(books, one) == one


def test_any_name_is_one_name_and_only_that(books: Direct) -> None:
    added = add(books, *(new(name) for name in NAMES))
    for name, bundle in zip(NAMES, added, strict=True):
        assert answer(books, ListBundles(name=name), Bundles).bundles == (bundle,)
        assert answer(books, ListBundles(like=name[2:6]), Bundles).bundles
    assert answer(books, ListBundles(like="%_"), Bundles).bundles == ()
    assert answer(books, ListBundles(like="b_c"), Bundles).bundles == (added[1],)
    for wrong in ("/raw\nnewline", "/raw ü", "/blank here", ""):
        with pytest.raises(Wrong):
            add(books, new(wrong))
    with books.ledger.read() as connection:
        assert connection.execute(select(func.count()).select_from(tables.lta_bundle)).scalar() == len(NAMES)


def test_pages_give_each_bundle_once(books: Direct) -> None:
    added = add(books, *(new(f"/{n}") for n in range(7)))
    after, found = 0, []
    while True:
        page = answer(books, ListBundles(after=after, limit=3), Bundles)
        found += page.bundles
        if page.next is None:
            break
        after = page.next
    assert tuple(found) == added
