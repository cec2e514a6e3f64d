"""Pushes to the remote buffer: success by proof alone, room reserved, attempts counted, nothing sent twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools.lta.api import answer
from dmtools.lta.api.bundles import Advance, BundleMove, Bundles, Claim, Quarantine
from tests.lta.scanner_steps import Outbound, told
from tests.support import Server

DATA = b"the bytes of a bundle" * 20


@pytest.fixture
def source(home: Path, serve: Callable[..., Server]) -> Outbound:
    """With an FTS server."""
    made = Outbound(home, serve)
    made.start()
    return made


def test_a_bundle_goes_to_the_buffer_and_is_proved_there(source: Outbound) -> None:
    source.zip("2016/a.zip", DATA)
    first = source.scan().json
    assert {k: v for k, v in first["counts"].items() if "JsonMade" in k or k == ">Untouched"} == {
        ">Untouched": 1,
        "Untouched>JsonMade": 1,
    }
    assert source.site("nersc").reserved == len(DATA)
    source.over()
    assert source.scan().json["counts"]["JsonMade>PushDone"] == 1
    bundle = source.bundles()["/2016/a.zip"]
    assert (bundle.state, bundle.reserved, bundle.holder) == ("PushDone", len(DATA), None)
    assert bundle.buffer == f"file://{source.home}/demo/lta/remote/buffer/2016/a.zip"
    assert source.in_buffer("2016/a.zip").read_bytes() == DATA
    why = source.sql("SELECT why FROM journal WHERE kind = 'lta-bundle' AND to_state = 'PushDone'")
    assert f"{len(DATA)} bytes in the buffer" in why[0][0]
    assert source.scan().json["state"] == "idle"


@pytest.mark.parametrize("fault", ["moved nothing", "truncated", "right size, wrong bytes", "empty"])
def test_no_success_without_proof_though_fts_says_finished(source: Outbound, fault: str) -> None:
    source.zip("a.zip", DATA)
    source.scan()
    source.over()
    there = source.in_buffer("a.zip")
    assert source.sql("SELECT job FROM ftsjob"), "FTS says FINISHED"
    wrong = {"moved nothing": None, "truncated": DATA[:-1], "right size, wrong bytes": DATA[::-1], "empty": b""}[fault]
    there.unlink()
    if wrong is not None:
        there.write_bytes(wrong)
    found = source.scan()
    assert told(found) == ["push failed"]
    bundle = source.bundles()["/a.zip"]
    assert (bundle.state, bundle.failures, bundle.error_class) == ("PushProblem", 1, "checksum")
    assert not source.sql("SELECT * FROM journal WHERE to_state = 'PushDone'")
    source.due()
    source.ship()
    assert source.states() == {"/a.zip": "PushDone"}
    assert there.read_bytes() == DATA, "our own wrong copy was replaced"
    assert source.bundles()["/a.zip"].failures == 0


def test_a_buffer_that_is_not_mounted_is_no_lost_copy(source: Outbound) -> None:
    source.zip("a.zip", DATA)
    source.scan()
    source.over()
    buffer = source.in_buffer("a.zip").parent
    buffer.rename(buffer.with_name("unmounted"))
    found = source.scan()
    assert told(found) == ["copy not proved yet"]
    assert source.states() == {"/a.zip": "JsonMade"}
    assert source.bundles()["/a.zip"].failures == 0
    buffer.with_name("unmounted").rename(buffer)
    source.due()
    source.scan()
    assert source.states() == {"/a.zip": "PushDone"}


def test_a_corrupting_transfer_is_never_a_success(source: Outbound) -> None:
    source.zip("a.zip", DATA)
    source.faults('[[fault]]\nmatch = "buffer/a.zip"\nop = "corrupt"\n')
    source.set(max_attempts=2)
    source.ship()
    assert source.states() == {"/a.zip": "Quarantined"}
    assert "attempt 2 of 2" in (source.bundles()["/a.zip"].reason or "")


def test_a_transfer_that_always_fails_is_tried_exactly_so_often_then_quarantined(source: Outbound) -> None:
    source.zip("bad.zip")
    source.zip("good.zip")
    source.faults('[[fault]]\nmatch = "buffer/bad.zip"\nop = "fail"\nreason = "TRANSFER [5] Input/output error"\n')
    source.ship(9)
    assert source.states() == {"/bad.zip": "Quarantined", "/good.zip": "PushDone"}
    bundle = source.bundles()["/bad.zip"]
    assert (bundle.failures, bundle.origin, bundle.reserved) == (4, "JsonMade", 0)
    assert (bundle.reason or "").endswith("attempt 4 of 4")
    tried = [row for row in source.ask("/sim/copies") if row["destination"].endswith("/bad.zip")]
    assert len(tried) == 4
    assert source.site("nersc").reserved == 300, "only what lies in the buffer"
    source.faults("")
    found = source.run("lta-bundle-scanner", "--reset", "/bad.zip", "--reason", "cable mended").ok()
    assert "Quarantined -> JsonMade" in found.out
    source.ship()
    assert set(source.states().values()) == {"PushDone"}
    assert source.bundles()["/bad.zip"].failures == 0
    assert source.sql("SELECT why FROM journal WHERE from_state = 'Quarantined'") == [("cable mended",)]


def test_a_push_that_failed_once_is_taken_up_again_after_its_time(source: Outbound) -> None:
    source.set(retry_seconds=3600)
    source.zip("a.zip", DATA)
    source.faults('[[fault]]\nmatch = "buffer/a.zip"\nop = "fail"\nreason = "TRANSFER [104] Connection reset"\ntimes = 1\n')
    source.scan()
    source.over()
    found = source.scan()
    assert told(found) == ["push failed"]
    assert found.json["state"] == "done", "a push that is tried again is no failure of the pass"
    assert source.states() == {"/a.zip": "PushProblem"}
    assert source.site("nersc").reserved == len(DATA), "its room is kept"
    assert source.scan().json["counts"] == {}, "not before its time"
    source.due()
    source.ship()
    assert source.states() == {"/a.zip": "PushDone"}
    assert source.site("nersc").reserved == len(DATA)


def test_no_more_than_max_pushes_are_under_way(source: Outbound) -> None:
    source.faults('[[fault]]\nop = "stall"\n')
    source.set(max_pushes=2)
    for number in range(5):
        source.zip(f"{number}.zip")
    for _ in range(2):
        source.scan()
    assert sorted(source.states().values()) == ["JsonMade"] * 2 + ["Untouched"] * 3
    source.servers["fts1"].kill()


def test_a_full_quota_holds_pushes_and_one_larger_than_all_of_it_is_quarantined(source: Outbound) -> None:
    source.posts(quota=1000)
    source.zip("large.zip", b"x" * 1001)
    found = source.scan(codes=(1,))
    assert told(found) == ["Quarantined"]
    assert "1,001 bytes are more than the whole quota of nersc, 1,000" in found.json["errors"][0]["why"]
    source.zip("1.zip", b"x" * 600)
    source.zip("2.zip", b"x" * 500)
    source.scan()
    states = source.states()
    assert states.pop("/large.zip") == "Quarantined"
    assert sorted(states.values()) == ["JsonMade", "Untouched"], "no room for both"
    source.over()
    for _ in range(2):
        source.scan()
    assert sorted(source.states().values()) == ["PushDone", "Quarantined", "Untouched"], "what lies in the buffer takes room"
    source.to_tape()
    source.ship()
    assert sorted(source.states().values()) == ["NERSCClean", "PushDone", "Quarantined"]


def test_while_the_quota_is_not_known_nothing_is_pushed(source: Outbound) -> None:
    source.zip("a.zip")
    source.posts(quota=None)
    assert told(source.scan()) == ["quota not known"]
    assert source.states() == {"/a.zip": "Untouched"}
    source.posts(quota=0)
    source.scan(codes=(1,))
    assert source.states() == {"/a.zip": "Quarantined"}, "none at all is known, and less than it needs"


def test_a_drain_ends_what_is_under_way_and_begins_nothing(source: Outbound) -> None:
    source.set(max_pushes=1)
    source.zip("a.zip")
    source.zip("b.zip")
    source.scan()
    source.run("dm-command", "drain", "lta").ok()
    source.zip("c.zip")
    source.over()
    found = source.scan().json
    assert (found["state"], found["counts"]["JsonMade>PushDone"]) == ("draining", 1)
    assert sorted(source.states().values()) == ["PushDone", "Untouched"], "none is found, and none is pushed"
    source.run("dm-command", "halt", "lta/bundle-scanner").ok()
    assert source.scan().json["state"] == "halted"
    source.run("dm-command", "run", "lta").ok()
    source.run("dm-command", "run", "lta/bundle-scanner").ok()
    source.ship()
    assert set(source.states().values()) == {"PushDone"}


def test_a_crash_after_the_intent_and_before_the_engine_knows_is_put_on_the_road_once(source: Outbound) -> None:
    source.run("dm-command", "drain", "lta").ok()
    source.scan()
    source.add("/a.zip", DATA)
    source.zip("a.zip", DATA)
    with source.books() as books:
        ask = Claim(states=("Untouched",), destination="nersc", holder="killed", reserve=True)
        (one,) = answer(books, ask, Bundles).bundles
        buffer = f"file://{source.home}/demo/lta/remote/buffer/a.zip"
        intent = BundleMove(id=one.id, fence=one.fence, before="Untouched", to="JsonMade", buffer=buffer)
        answer(books, Advance(moves=(intent,)), Bundles)
    source.run("dm-command", "run", "lta").ok()
    source.ship()
    assert source.states() == {"/a.zip": "PushDone"}
    assert source.copies() == [buffer]


def test_a_claim_whose_holder_was_killed_ends_by_itself_and_keeps_its_room(source: Outbound) -> None:
    source.run("dm-command", "drain", "lta").ok()
    source.scan()
    source.add("/a.zip", DATA)
    source.zip("a.zip", DATA)
    source.do(Claim(states=("Untouched",), destination="nersc", holder="killed", reserve=True, seconds=600))
    source.run("dm-command", "run", "lta").ok()
    source.scan()
    assert source.states() == {"/a.zip": "Untouched"}, "it is the killed one's still"
    with source.database() as db:
        db.execute("UPDATE lta_bundle SET ready = since")
    source.ship()
    assert source.states() == {"/a.zip": "PushDone"}
    assert source.site("nersc").reserved == len(DATA), "reserved once"


def test_what_a_foreigner_left_in_the_buffer_is_never_overwritten(source: Outbound) -> None:
    source.zip("a.zip", DATA)
    source.zip("same.zip", DATA)
    for name, body in (("a.zip", b"another's"), ("same.zip", DATA)):
        source.in_buffer(name).parent.mkdir(parents=True, exist_ok=True)
        source.in_buffer(name).write_bytes(body)
    source.ship(9)
    assert source.states() == {"/a.zip": "Quarantined", "/same.zip": "PushDone"}
    assert source.bundles()["/a.zip"].error_class == "occupied"
    assert source.in_buffer("a.zip").read_bytes() == b"another's"


def test_a_bundle_that_a_person_wants_sent_anew_replaces_its_own_copy(source: Outbound) -> None:
    source.zip("a.zip", DATA)
    source.ship()
    source.in_buffer("a.zip").write_bytes(b"rotten in the buffer")
    bundle = source.bundles()["/a.zip"]
    source.do(Quarantine(id=bundle.id, why="the buffer's copy is rotten"))
    source.run("lta-bundle-scanner", "--retry", str(bundle.id), "--reason", "rotten").ok()
    source.ship()
    assert source.states() == {"/a.zip": "PushDone"}
    assert source.in_buffer("a.zip").read_bytes() == DATA
    assert len(source.copies()) == 2


def test_a_name_that_was_given_up_comes_again_with_other_bytes(source: Outbound) -> None:
    path = source.zip("a.zip", DATA)
    source.ship()
    path.unlink()
    source.run("lta-bundle-scanner", "--abort", "a.zip", "--reason", "made wrong").ok()
    source.zip("a.zip", b"made right")
    source.ship()
    assert source.states() == {"/a.zip": "PushDone"}
    assert source.in_buffer("a.zip").read_bytes() == b"made right"
    assert [state for (state,) in source.sql("SELECT state FROM lta_bundle ORDER BY id")] == ["Abort", "PushDone"]


def test_a_zip_that_changed_after_it_was_recorded_is_not_shipped_as_the_bundle(source: Outbound) -> None:
    source.set(max_attempts=1)
    source.run("dm-command", "drain", "lta").ok()
    source.scan()
    source.add("/a.zip", DATA)
    source.zip("a.zip", DATA[::-1])
    source.run("dm-command", "run", "lta").ok()
    source.ship()
    bundle = source.bundles()["/a.zip"]
    assert (bundle.state, bundle.error_class) == ("Quarantined", "checksum"), bundle


def test_fts_away_holds_pushes_and_everything_else_goes_on(source: Outbound) -> None:
    source.zip("a.zip")
    source.scan()
    source.over()
    source.servers["fts1"].kill()
    source.zip("b.zip")
    assert "no FTS server" in told(source.scan())
    assert source.states() == {"/a.zip": "JsonMade", "/b.zip": "JsonMade"}
    assert told(source.scan(codes=(75,)))[-1] == "no FTS server", "nothing but waiting was done"
    source.start()
    source.ship()
    assert set(source.states().values()) == {"PushDone"}
    assert len(source.copies()) == 2


def test_a_dead_fts_server_is_given_up_and_its_bundles_go_to_another(source: Outbound) -> None:
    source.zip("a.zip", DATA)
    source.faults('[[fault]]\nop = "stall"\n')
    source.scan()
    source.servers["fts1"].kill()
    refused = source.run("lta-bundle-scanner", "--abandon", "fts1").gave(2)
    assert "--yes" in refused.err
    source.run("lta-bundle-scanner", "--abandon", "fts1", "--yes").ok()
    source.faults("")
    source.start()
    source.ship()
    assert source.states() == {"/a.zip": "PushDone"}
    assert source.in_buffer("a.zip").read_bytes() == DATA
    assert not source.sql("SELECT * FROM ftsjob WHERE state NOT IN ('closed', 'abandoned')")
