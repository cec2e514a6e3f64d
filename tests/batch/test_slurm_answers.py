"""What squeue and sacct say, read: nothing that can't be read is called failed, done or gone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.batch import Status
from dmtools.batch.slurm_answers import sacct, squeue

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
STATES = ["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED by 0", "NODE_FAIL", "TIMEOUT", "NEVER_HEARD_OF", ""]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("7|k|PENDING|0|Priority|", Status("k", "queued", "7", reason="Priority")),
        ("7|k|PENDING|0|JobHeldAdmin|", Status("k", "held", "7", reason="JobHeldAdmin")),
        ("7|k|RUNNING|0|None|", Status("k", "running", "7")),
        ("7|k|COMPLETING|768|None|", Status("k", "running", "7", reason="COMPLETING")),
        ("7|k|COMPLETED|0|None|", Status("k", "done", "7", 0)),
        ("7|k|COMPLETED|0:0|None|", Status("k", "done", "7", 0)),
        ("7|k|FAILED|768|NonZeroExitCode|", Status("k", "failed", "7", 3, "exit code 3")),
        ("7|k|FAILED|3:0|NonZeroExitCode|", Status("k", "failed", "7", 3, "exit code 3")),
        ("7|k|FAILED|9|JobLaunchFailure|", Status("k", "failed", "7", reason="killed by SIGKILL")),
        ("7|k|FAILED|4021|JobLaunchFailure|", Status("k", "failed", "7", reason="JobLaunchFailure")),
        ("7|k|TIMEOUT|15|TimeLimit|", Status("k", "failed", "7", reason="TIMEOUT")),
        ("7|k|OUT_OF_MEMORY|0:125|OutOfMemory|", Status("k", "failed", "7", reason="OUT_OF_MEMORY")),
        ("7|k|NODE_FAIL|0|NodeDown|", Status("k", "gone", "7", reason="lost: NODE_FAIL")),
        ("7|k|SPECIAL_EXIT|0|None|", Status("k", "held", "7", reason="SPECIAL_EXIT")),
    ],
)
def test_each_state_of_a_job(line: str, status: Status) -> None:
    assert squeue(f"1|other|RUNNING|0|None|\n{line}\n", ["k", "absent"]) == {"k": status}


def test_accounting_knows_the_same() -> None:
    said = "7|k|CANCELLED by 0|0:15\n8|c|COMPLETED|0:0\n9|f|FAILED|4:0\n"
    assert sacct(said, ["k", "c", "f"]) == {
        "k": Status("k", "failed", "7", reason="CANCELLED"),
        "c": Status("c", "done", "8", 0),
        "f": Status("f", "failed", "9", 4, "exit code 4"),
    }


def test_of_two_jobs_of_a_key_the_one_that_works_counts() -> None:
    first, refused, lost = "7|k|RUNNING|0|None|", "8|k|FAILED|20224|NonZeroExitCode|", "6|k|NODE_FAIL|0|None|"
    assert squeue(f"{lost}\n{first}\n{refused}\n", ["k"])["k"] == Status("k", "running", "7")
    assert squeue(f"{refused}\n", ["k"]) == {}, "one that found the key taken says nothing"


def test_a_broken_answer_makes_what_it_lacks_unknown() -> None:
    found = squeue("slurm_load_jobs: warning\n7|a|RUNNING|0|None|\n8|b|COMPLETED|what|None|\n", ["a", "b", "c"])
    assert {key: status.how for key, status in found.items()} == {"a": "running", "b": "unknown", "c": "unknown"}


@given(TEXT)
def test_rubbish_is_never_a_verdict(text: str) -> None:
    for status in (squeue(text, ["k"]) | sacct(text, ["k"])).values():
        assert status.how == "unknown"


@given(st.lists(st.tuples(TEXT, st.sampled_from(["k", "other"]), st.sampled_from(STATES), TEXT, TEXT), max_size=5))
def test_done_is_what_completed_with_zero(rows: list[tuple[str, ...]]) -> None:
    found = squeue("\n".join("|".join(row) + "|" for row in rows), ["k"])
    if found.get("k", Status("k", "gone")).how == "done":
        assert any("COMPLETED" in "".join(row) for row in rows)
