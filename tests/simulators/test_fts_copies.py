"""Real copies: the order of the steps, the reasons, verification, retries, clean-up, states of jobs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.fts_client import Fts, adler, url
from tests.support import wait_until

SOME_FAILED = "One or more files failed. Please have a look at the details for more information"
EXISTS = "DESTINATION [17] Destination file exists and overwrite is not enabled"


def fault(fts: Fts, match: Any, op: str, **more: Any) -> None:
    lines = [f"match = '{match}'", f'op = "{op}"', *(f"{key} = {value!r}" for key, value in more.items())]
    fts.faults("[[fault]]\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize("size", [0, 1, 5000, 3_000_000])
@pytest.mark.parametrize("mode", ["none", "both"])
def test_a_copy(fts: Fts, size: int, mode: str) -> None:
    source, target = fts.source(os.urandom(size)), fts.target()
    file = fts.copy(source, target, verify_checksum=mode, checksum=adler(source))
    assert (file["job_state"], file["file_state"], file["reason"], file["retry"]) == ("FINISHED", "FINISHED", "", 0)
    assert target.read_bytes() == source.read_bytes()
    (whole,) = [one for one in fts.get("/files?state_in=FINISHED&time_window=1") if one["file_id"] == file["file_id"]]
    assert whole["filesize"] == size
    assert min(whole["tx_duration"], whole["pid"]) > 0
    assert all(whole[key] is not None for key in ("throughput", "start_time", "finish_time", "transfer_host"))
    (row,) = fts.copies(destination=url(target))
    assert (row["outcome"], row["file_id"]) == ("FINISHED", file["file_id"])
    assert row["opened_at"] <= row["closed_at"]


@pytest.mark.parametrize(
    ("mode", "with_value", "words"),
    [
        ("target", True, "DESTINATION [5] User-defined and destination ADLER32 checksum do not match ("),
        ("target", False, "DESTINATION [5] Source and destination ADLER32 checksum do not match ("),
        ("both", True, "DESTINATION [5] User-defined and destination ADLER32 checksum do not match ("),
        ("both", False, "DESTINATION [5] Source and destination ADLER32 checksum do not match ("),
        ("source", True, None),
        ("none", True, None),
    ],
)
def test_corruption_is_real_and_found_by_verification_only(fts: Fts, mode: str, with_value: bool, words: str | None) -> None:
    source, target = fts.source(), fts.target()
    fault(fts, target, "corrupt")
    file = fts.copy(source, target, verify_checksum=mode, checksum=adler(source) if with_value else None, retry=3)
    if words:
        assert file["file_state"] == "FAILED"
        assert file["reason"].startswith(words)
        assert file["retry"] == 0
        assert not target.exists()
    else:
        assert file["file_state"] == "FINISHED"
        assert target.stat().st_size == source.stat().st_size
        assert target.read_bytes() != source.read_bytes()


def test_corruption_of_nothing(fts: Fts) -> None:
    source, target = fts.source(b""), fts.target()
    fault(fts, target, "corrupt")
    assert fts.copy(source, target)["reason"] == "DESTINATION [22] Source and destination file size mismatch"


@pytest.mark.parametrize("mode", ["source", "both"])
def test_a_wrong_source_is_not_copied(fts: Fts, mode: str) -> None:
    source, target = fts.source(b"hello"), fts.target()
    file = fts.copy(source, target, verify_checksum=mode, checksum="adler32:deadbeef")
    assert file["reason"] == "SOURCE [5] Source and user-defined ADLER32 checksum do not match (062c0215 != deadbeef)"
    assert not target.parent.exists()
    assert fts.copies(destination=url(target)) == []


@pytest.mark.parametrize(
    "checksum", ["ADLER32:062C0215", "adler32:62c0215", "md5:5d41402abc4b2a76b9719d911017c592", "crc32:3610a686"]
)
def test_ways_to_write_a_checksum(fts: Fts, checksum: str) -> None:
    assert fts.copy(fts.source(b"hello"), fts.target(), verify_checksum="both", checksum=checksum)["file_state"] == "FINISHED"


def test_the_source_is_gone(fts: Fts) -> None:
    file = fts.copy(fts.home / "demo/castor/none", fts.target(), retry=3)
    assert (file["file_state"], file["retry"]) == ("FAILED", 0)
    assert file["reason"] == "SOURCE [2] No such file or directory"
    assert fts.copy(fts.source().parent, fts.target())["reason"] == "SOURCE [21] Is a directory"


def test_overwrite(fts: Fts) -> None:
    source, target = fts.source(b"new"), fts.target()
    target.parent.mkdir()
    target.write_bytes(b"old one")
    assert fts.copy(source, target, retry=3)["reason"] == EXISTS
    assert fts.copy(source, target, overwrite_on_retry=True)["reason"] == EXISTS
    assert target.read_bytes() == b"old one"
    assert fts.copies(destination=url(target)) == []
    assert fts.copy(source, target, overwrite=True)["file_state"] == "FINISHED"
    assert target.read_bytes() == b"new"


def test_overwrite_on_retry(fts: Fts) -> None:
    source, target = fts.source(b"new"), fts.target()
    fault(fts, target, "fail", reason="TRANSFER [110] Connection timed out", times=1)
    target.parent.mkdir()
    target.write_bytes(b"old")
    file = fts.copy(source, target, overwrite_on_retry=True, retry=1)
    assert (file["file_state"], file["retry"]) == ("FINISHED", 1)
    assert target.read_bytes() == b"new"


def test_what_stands_in_the_way_is_reported(fts: Fts) -> None:
    source, target = fts.source(b"new"), fts.target()
    target.parent.mkdir()
    target.write_bytes(b"hello")
    file = fts.copy(source, target, dst_file_report=True, metadata={"k": 1})
    told = {"file_size": 5, "checksum_type": "ADLER32", "checksum_value": "062c0215", "file_on_tape": False, "file_on_disk": True}
    assert file["file_metadata"] == {"k": 1, "dst_file": told}


def test_strict_copy_and_no_cleanup(fts: Fts) -> None:
    source, target = fts.source(b"new"), fts.target()
    target.parent.mkdir()
    target.write_bytes(b"old and longer")
    assert fts.copy(source, target, strict_copy=True)["file_state"] == "FINISHED"
    assert target.read_bytes() == b"new"
    left = fts.target()
    fault(fts, left, "corrupt")
    assert fts.copy(source, left, verify_checksum="both", disable_cleanup=True)["file_state"] == "FAILED"
    assert left.stat().st_size == 3


@pytest.mark.parametrize("name", ["a b", "%", "é", "a'b\"c", "x" * 200, "-f", "a?b#c", "\n"])
def test_any_name(fts: Fts, name: str) -> None:
    from dmtools.names import file_url

    source, target = fts.source(name=f"names/{name}"), fts.home / "demo/echo/names" / name
    assert fts.copy(file_url(source), file_url(target))["file_state"] == "FINISHED"
    assert target.read_bytes() == source.read_bytes()


def test_nothing_outside_of_the_root(fts: Fts, tmp_path: Path) -> None:
    outside, inside = tmp_path / "secret", fts.source()
    outside.write_text("secret")
    for source in (outside, "file:///etc/hostname", f"file://{inside.parent}/../../../dmtools.toml"):
        assert fts.copy(source, fts.target())["reason"].startswith(
            ("SOURCE [13] Permission denied", "SOURCE [22] Invalid argument")
        )
    link = fts.source()
    link.unlink()
    link.symlink_to(outside)
    assert fts.copy(link, fts.target())["reason"].startswith("SOURCE [13] Permission denied")
    way_out = fts.home / f"demo/echo/out{os.getpid()}"
    way_out.symlink_to(tmp_path)
    for target in (way_out / "f", way_out / "new/f", tmp_path / "f", outside):
        assert fts.copy(inside, target, overwrite=True)["reason"].startswith("DESTINATION [13] Permission denied")
    assert list(tmp_path.iterdir()) == [outside]
    assert outside.read_text() == "secret"
    beside = fts.home / "demo-beside"
    assert fts.copy(inside, beside)["reason"].startswith("DESTINATION [13]")


def test_a_link_at_the_destination_is_not_followed(fts: Fts, tmp_path: Path) -> None:
    source, target = fts.source(), fts.target()
    target.parent.mkdir()
    target.symlink_to(tmp_path / "new")
    assert fts.copy(source, target, strict_copy=True)["file_state"] == "FAILED"
    assert not (tmp_path / "new").exists()


def test_other_schemes_are_taken_and_fail(fts: Fts) -> None:
    file = fts.copy("https://h.example/a", "https://h.example/b")
    assert file["reason"] == "SOURCE [93] Protocol not supported or path/url invalid"


def test_retries(fts: Fts) -> None:
    source, target = fts.source(), fts.target()
    fault(fts, target, "fail", reason="TRANSFER [110] Connection timed out", times=2)
    job_id = fts.submit((source, target), retry=5)
    job = fts.done(job_id)
    file = job["files"][0]
    assert (job["job_state"], file["file_state"], file["retry"]) == ("FINISHED", "FINISHED", 2)
    tries = fts.get(f"/jobs/{job_id}/files/{file['file_id']}/retries")
    assert [(one["attempt"], one["reason"]) for one in tries] == [(n, "TRANSFER [110] Connection timed out") for n in (1, 2)]


@pytest.mark.parametrize(("retry", "tried"), [(-1, 0), (0, 0), (2, 2)])
def test_retries_are_limited(fts: Fts, retry: int, tried: int) -> None:
    source, target = fts.source(), fts.target()
    fault(fts, target, "fail", reason="TRANSFER [110] Connection timed out")
    file = fts.copy(source, target, retry=retry)
    assert (file["file_state"], file["retry"], file["reason"]) == ("FAILED", tried, "TRANSFER [110] Connection timed out")


@pytest.mark.parametrize(
    "reason",
    [
        "DESTINATION [28] No space left on device",
        "SOURCE [2] No such file or directory",
        "DESTINATION [13] x",
        "TRANSFER [5] SOURCE proxy expired",
        "DESTINATION [5] checksum do not match",
    ],
)
def test_what_is_not_tried_again(fts: Fts, reason: str) -> None:
    source, target = fts.source(), fts.target()
    fault(fts, target, "fail", reason=reason)
    file = fts.copy(source, target, retry=3)
    assert (file["retry"], file["reason"]) == (0, reason)


def test_finished_dirty(fts: Fts) -> None:
    source = fts.source()
    job = fts.done(fts.submit((source, fts.target()), (source.with_name("none"), fts.target()), (source, fts.target())))
    assert (job["job_state"], job["reason"]) == ("FINISHEDDIRTY", SOME_FAILED)
    assert [file["file_state"] for file in job["files"]] == ["FINISHED", "FAILED", "FINISHED"]


def test_canceled_with_a_finished_file(fts: Fts) -> None:
    source, slow = fts.source(), fts.target()
    fault(fts, slow, "stall")
    job_id = fts.submit((source, fts.target()), (source, slow))
    wait_until(lambda: [file["file_state"] for file in fts.job(job_id)["files"]] == ["FINISHED", "ACTIVE"])
    assert fts.job(job_id)["job_state"] == "ACTIVE"
    wait_until(slow.exists)
    assert slow.stat().st_size < source.stat().st_size
    fts.raw("DELETE", f"/jobs/{job_id}")
    job = fts.job(job_id)
    assert (job["job_state"], job["reason"]) == ("CANCELED", "Job canceled by the user")
    assert [file["file_state"] for file in job["files"]] == ["FINISHED", "CANCELED"]
    wait_until(lambda: not slow.exists())
    wait_until(lambda: fts.job(job_id)["files"][1]["finish_time"])
    wait_until(lambda: fts.copies(destination=url(slow))[0]["outcome"] == "CANCELED")


def test_a_stall_ends_and_the_copy_is_whole(fts: Fts) -> None:
    source, target = fts.source(), fts.target()
    fault(fts, target, "stall", seconds=0.3)
    assert fts.copy(source, target, verify_checksum="both")["file_state"] == "FINISHED"
    assert target.read_bytes() == source.read_bytes()


def test_stalled_copies_do_not_hold_up_others(fts: Fts) -> None:
    source = fts.source()
    stalled = [fts.target() for _ in range(12)]
    fault(fts, "*/stalled-*", "stall")
    job_id = fts.submit(*((source, target.with_name(f"stalled-{n}")) for n, target in enumerate(stalled)))
    wait_until(lambda: len(fts.copies(job_id=job_id)) == 12)
    assert fts.copy(source, fts.target())["file_state"] == "FINISHED"
    fts.raw("DELETE", f"/jobs/{job_id}")


def test_the_transfer_timeout(fts: Fts) -> None:
    source, target = fts.source(), fts.target()
    fault(fts, target, "stall")
    file = fts.copy(source, target, timeout=1)
    assert file["reason"].startswith("TRANSFER [110] operation timeout")
    assert not target.exists()


def test_staging(fts: Fts) -> None:
    source, target = fts.source(), fts.target()
    job_id = fts.submit((source, target), bring_online=100)
    assert fts.done(job_id)["job_state"] == "FINISHED"
    file = fts.get(f"/jobs/{job_id}/files")[0]
    assert file["staging_start"] <= file["staging_finished"] <= file["start_time"]
    only = fts.submit((source, source), bring_online=100)
    assert fts.done(only)["job_state"] == "FINISHED"
    assert fts.copies(job_id=only) == []


def test_archiving(fts: Fts, own_fts: Any) -> None:
    source, target = fts.source(), fts.target()
    job_id = fts.submit((source, target), archive_timeout=100)
    assert fts.done(job_id)["job_state"] == "FINISHED"
    file = fts.get(f"/jobs/{job_id}/files")[0]
    assert file["archive_start_time"] <= file["archive_finish_time"]
    slow = own_fts("--archiving", 900, "--staging", 900)
    taped = slow.target()
    late = slow.submit((slow.source(), taped), archive_timeout=4)
    slow.wait_file(late, "ARCHIVING")
    assert slow.job(late)["job_state"] == "ARCHIVING"
    assert taped.exists()
    never = slow.submit((slow.source(), slow.target()), bring_online=4)
    assert slow.get(f"/jobs/{never}/job_state") == "STAGING"
    failed = slow.done(late)["files"][0]
    assert (failed["file_state"], "beyond its archive timeout" in failed["reason"]) == ("FAILED", True)
    assert "bring-online timeout" in slow.done(never)["files"][0]["reason"]


def test_too_long_in_the_queue(fts: Fts) -> None:
    source, target = fts.source(), fts.target()
    fault(fts, target, "fail", reason="TRANSFER [110] Connection timed out", times=1)
    job = fts.done(fts.submit((source, target), retry=1, retry_delay=900, max_time_in_queue="1s"))
    words = "Job has been canceled because it stayed in the queue for too long (max-time-in-queue timeout)"
    assert (job["job_state"], job["reason"], job["files"][0]["reason"]) == ("CANCELED", words, words)


def test_replicas(fts: Fts) -> None:
    source, target = fts.source(), fts.target()
    job = fts.done(fts.submit(([source.with_name("none"), source, source], target)))
    assert job["job_state"] == "FINISHED"
    assert [file["file_state"] for file in job["files"]] == ["FAILED", "FINISHED", "NOT_USED"]


def test_hops(fts: Fts) -> None:
    source, middle, end = fts.source(), fts.target(), fts.target()
    job = fts.done(fts.submit((source, middle), (middle, end), multihop=True))
    assert job["job_state"] == "FINISHED"
    assert end.read_bytes() == source.read_bytes()
    job = fts.done(fts.submit((source.with_name("none"), fts.target()), (middle, fts.target()), multihop=True))
    assert job["job_state"] == "FAILED"
    assert [file["file_state"] for file in job["files"]] == ["FAILED", "NOT_USED"]


def test_links_have_a_limit_and_canceled_copies_may_go_on(own_fts: Any) -> None:
    fts = own_fts("--link-limit", 2, "--running", 9, "--cancel-delay", 30)
    fts.faults('[[fault]]\nop = "stall"\nseconds = 3\n')
    source, targets = fts.source(), [fts.target() for _ in range(4)]
    job_id = fts.submit(*((source, target) for target in targets))
    wait_until(lambda: len(fts.copies()) == 2)
    assert sorted(file["file_state"] for file in fts.job(job_id)["files"]) == ["ACTIVE", "ACTIVE", "SUBMITTED", "SUBMITTED"]
    fts.raw("DELETE", f"/jobs/{job_id}")
    wait_until(lambda: [row["outcome"] for row in fts.copies()] == ["CANCELED"] * 2)
    assert [target.exists() for target in targets] == [True, True, False, False]


def test_duplicates_are_refused_if_asked(own_fts: Any) -> None:
    fts = own_fts("--check-duplicates", "--plain-user")
    source, target = fts.source(), fts.target()
    fts.faults(f"[[fault]]\nop = 'stall'\nmatch = '{target}'\n")
    job_id = fts.submit((source, target))
    body = {"files": [{"sources": [url(source)], "destinations": [url(target)]}]}
    answer = fts.raw("POST", "/jobs", body)
    assert (answer.status_code, answer.json()["message"][:28]) == (409, "The submission is duplicated")
    assert len(fts.get("/sim/submissions")) == 1
    fts.raw("DELETE", f"/jobs/{job_id}")
    wait_until(lambda: not target.exists())
    fts.faults("")
    assert fts.copy(source, target)["file_state"] == "FINISHED"
    assert fts.copy(source, target)["reason"] == EXISTS
    for path in ("/jobs/all", "/ban/se?storage=x"):
        assert fts.raw("DELETE", path).status_code == 403
    assert fts.get("/whoami")["is_root"] is False
