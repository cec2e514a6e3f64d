"""What condor_q and condor_history say, read: nothing that can't be read is called failed, done or gone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.batch import Status
from dmtools.batch.htcondor_answers import jobs

VALUES = st.none() | st.booleans() | st.integers(-3, 80) | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
ATTRIBUTES = st.sampled_from(["JobStatus", "ExitCode", "ExitBySignal", "ExitSignal", "HoldReason", "ClusterId", "RemoveReason"])


def row(how: int, **more: object) -> dict[str, Any]:
    return {"DmtoolsKey": "k", "ClusterId": 7, "ProcId": 0, "JobStatus": how, **more}


@pytest.mark.parametrize(
    ("ad", "status"),
    [
        (row(1), Status("k", "queued", "7.0")),
        (row(2), Status("k", "running", "7.0")),
        (row(6), Status("k", "running", "7.0")),
        (row(7), Status("k", "running", "7.0", reason="suspended")),
        (row(3, RemoveReason="via condor_rm"), Status("k", "failed", "7.0", reason="removed: via condor_rm")),
        (row(4, ExitBySignal=False, ExitCode=0), Status("k", "done", "7.0", 0)),
        (row(4, ExitBySignal=False, ExitCode=3), Status("k", "failed", "7.0", 3, "exit code 3")),
        (row(4, ExitBySignal=True, ExitSignal=9), Status("k", "failed", "7.0", reason="killed by SIGKILL")),
        (row(4, ExitCode=False), Status("k", "unknown", "7.0", reason="HTCondor says JobStatus 4, ExitCode False")),
        (row(5, HoldReason="no disk"), Status("k", "held", "7.0", reason="no disk")),
        (row(5), Status("k", "held", "7.0", reason="HTCondor gives no reason")),
        (row(5, HoldReason="Spooling input data files", HoldReasonCode=16), Status("k", "queued", "7.0")),
    ],
)
def test_each_state_of_a_job(ad: dict[str, Any], status: Status) -> None:
    assert jobs(json.dumps([{**ad, "DmtoolsKey": "other"}, ad]), ["k", "absent"]) == {"k": status}


def test_of_two_jobs_of_a_key_the_one_that_works_counts() -> None:
    twice = row(4, ExitBySignal=False, ExitCode=79)
    assert jobs(json.dumps([twice, row(2), row(3)]), ["k"])["k"].how == "running"
    assert jobs(json.dumps([twice]), ["k"]) == {}, "one that found the key taken says nothing"


def test_no_job_is_an_empty_answer_and_half_an_answer_is_unknown() -> None:
    assert jobs("", ["k"]) == jobs("[\n]\n", ["k"]) == {}
    whole = json.dumps([row(4, ExitBySignal=False, ExitCode=0)])
    assert {jobs(whole[:end], ["k"])["k"].how for end in range(1, len(whole))} == {"unknown"}


@given(st.text(max_size=40).filter(str.strip))
def test_rubbish_is_unknown(text: str) -> None:
    assert {status.how for status in jobs(text, ["k"]).values()} <= {"unknown"}


@given(st.dictionaries(ATTRIBUTES, VALUES))
def test_done_is_what_completed_with_zero_and_failed_what_surely_ended(ad: dict[str, Any]) -> None:
    how = jobs(json.dumps([{"DmtoolsKey": "k", **ad}]), ["k"]).get("k", Status("k", "gone")).how
    if how == "done":
        assert (ad["JobStatus"], ad["ExitCode"]) == (4, 0)
        assert ad.get("ExitBySignal") is not True
    if how == "failed":
        assert ad["JobStatus"] in (3, 4)
