"""Faults on demand: what each does to a request, how often, and what a bad faults file does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from dmtools.simulators import faults
from tests.simulators.fts_client import Fts, url
from tests.support import wait_until

PAIR = {"files": [{"sources": ["https://a.example/x"], "destinations": ["https://b.example/x"]}]}


def test_http500_so_many_times(fts: Fts) -> None:
    fts.faults('[[fault]]\nmatch = "GET /jobs*"\nop = "http500"\ntimes = 2\nreason = "the \\"db\\" is gone"\n')
    assert fts.raw("GET", "/whoami").status_code == 200
    answers = [fts.raw("GET", "/jobs") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [500, 500, 200]
    assert answers[0].json() == {"status": "500 Internal Server Error", "message": "the  db  is gone"}
    before = len(fts.get("/sim/submissions"))
    fts.faults('[[fault]]\nmatch = "POST /jobs"\nop = "http500"\n')
    assert fts.raw("POST", "/jobs", PAIR).status_code == 500
    assert len(fts.get("/sim/submissions")) == before


def test_an_answer_that_is_lost(fts: Fts) -> None:
    fts.faults('[[fault]]\nmatch = "POST /jobs"\nop = "lose-answer"\ntimes = 1\n')
    params = {"id_generator": "deterministic", "sid": "lost"}
    with pytest.raises(requests.ConnectionError):
        fts.raw("POST", "/jobs", {**PAIR, "params": params})
    (row,) = fts.get("/sim/submissions?sid=lost")
    assert row["answered"] == 0
    assert fts.raw("GET", f"/jobs/{row['job_id']}").status_code == 200
    assert fts.raw("POST", "/jobs", {**PAIR, "params": params}).status_code == 409
    assert len(fts.get("/sim/submissions?sid=lost")) == 1


def test_silence_holds_up_nobody_else(fts: Fts) -> None:
    fts.faults('[[fault]]\nmatch = "GET /jobs/quiet"\nop = "silent"\n')
    headers = {"Authorization": f"Bearer {fts.address['token']}"}
    for _ in range(12):
        with pytest.raises(requests.ReadTimeout):
            requests.get(fts.url + "/jobs/quiet", headers=headers, timeout=(60, 0.05))
    assert fts.raw("GET", "/whoami").elapsed.total_seconds() < 20
    fts.faults('[[fault]]\nmatch = "GET /jobs/quiet"\nop = "silent"\nseconds = 0.2\n')
    with pytest.raises(requests.ConnectionError):
        requests.get(fts.url + "/jobs/quiet", headers=headers, timeout=60)


def test_slow_answers(fts: Fts) -> None:
    fts.faults('[[fault]]\nmatch = "GET /whoami"\nop = "slow"\nseconds = 0.3\ntimes = 1\n')
    assert fts.raw("GET", "/whoami").elapsed.total_seconds() >= 0.3
    assert fts.raw("GET", "//whoami").status_code == 200


def test_a_slow_copy(fts: Fts) -> None:
    source, target = fts.source(), fts.target()
    fts.faults(f"[[fault]]\nmatch = '{source}'\nop = 'slow'\nseconds = 0.2\n")
    job_id = fts.submit((source, target))
    fts.wait_file(job_id, "ACTIVE")
    assert not target.exists()
    assert fts.done(job_id)["job_state"] == "FINISHED"


def test_a_bad_faults_file_is_told_once_and_ignored(fts: Fts) -> None:
    fts.faults('[[fault]]\nmatch = "GET /whoami"\nop = "explode"\n')
    for _ in range(3):
        assert fts.raw("GET", "/whoami").status_code == 200
    wait_until(lambda: "explode" in fts.said)
    assert fts.said.count("unknown op 'explode'") == 1


def test_uses_are_counted_over_a_restart(own_fts: Callable[..., Fts]) -> None:
    fts = own_fts()
    once = '[[fault]]\nmatch = "GET /whoami"\nop = "http500"\ntimes = 1\n'
    fts.faults(once + once)
    assert fts.raw("GET", "/whoami").status_code == 500
    fts.kill()
    fts.start()
    assert [fts.raw("GET", "/whoami").status_code for _ in range(2)] == [500, 200]
    fts.faults("")
    assert fts.raw("GET", "/whoami").status_code == 200
    fts.faults(once)
    assert [fts.raw("GET", "/whoami").status_code for _ in range(2)] == [500, 200]


def test_a_fault_hits_one_pair_only(fts: Fts) -> None:
    source, hit, missed = fts.source(), fts.target(), fts.target()
    fts.faults(f"[[fault]]\nmatch = '*{hit}'\nop = 'fail'\nreason = 'DESTINATION [28] No space left on device'\n")
    job = fts.done(fts.submit((source, hit), (source, missed)))
    assert [file["reason"] for file in job["files"]] == ["DESTINATION [28] No space left on device", ""]
    assert fts.copies(destination=url(hit)) == []


@given(
    st.lists(
        st.fixed_dictionaries(
            {"op": st.sampled_from(sorted(faults.COPY_OPS | faults.REQUEST_OPS))},
            optional={
                "match": st.text(st.characters(exclude_categories=("Cs", "Cc"))),
                "times": st.integers(0, 9),
                "seconds": st.floats(0, 99),
            },
        ),
        max_size=4,
    )
)
def test_what_is_written_is_read(entries: list[dict[str, Any]]) -> None:
    def value(item: Any) -> str:
        return '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(item, str) else repr(item)

    text = "".join("[[fault]]\n" + "".join(f"{key} = {value(item)}\n" for key, item in entry.items()) for entry in entries)
    found = faults.parse(text)
    assert [fault.op for fault in found] == [entry["op"] for entry in entries]
    for fault, entry in zip(found, entries, strict=True):
        assert fault.match == entry.get("match", "*")
        assert fault.hits(f"x{fault.match}y") or fault.match == "*"
        assert (fault.times, fault.seconds) == (entry.get("times"), entry.get("seconds"))


@given(st.text())
def test_nonsense_is_a_value_error_and_nothing_else(text: str) -> None:
    with suppress(ValueError):
        faults.parse(text)


@pytest.mark.parametrize(
    "text", ["[fault]\nop='fail'", "[[faults]]\nop='fail'", "[[fault]]\nop=1", "[[fault]]\nop='fail'\nx=1", "[[fault]]"]
)
def test_wrong_entries(text: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        faults.parse(text)
