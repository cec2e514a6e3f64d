"""The transfer engine as its design says it, sentence by sentence: keys, polls, attempts, proof, overwriting."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

import pytest

from tests.transfers import fake_fts as odd
from tests.transfers.conftest import Scripted
from tests.transfers.fake_fts import BASE_ID, File, Job

EXISTS = "DESTINATION [17] Destination file exists and overwrite is not enabled"
ON_TAPE = "DESTINATION [17] Destination file exists and is on tape"
NETWORK = "TRANSFER [104] Connection reset by peer"


def sid_by_hand(site: Scripted, list_id: int, attempt: int, job: Job) -> str:
    """The key of an attempt as the design writes it."""
    (installation,) = site.sql("SELECT uuid FROM installation")[0]
    files = sorted((file.source, file.destination, file.checksum) for file in job.files)
    words = [installation, str(list_id), str(attempt), *("\t".join(file) for file in files)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


# ---- keys --------------------------------------------------------------------------------------------------------------


def test_the_sid_follows_from_installation_list_attempt_and_files(scripted: Scripted) -> None:
    first = scripted.begin("/a/2", "/a/1")
    assert first.params["sid"] == sid_by_hand(scripted, 1, 1, first)
    assert first.id == str(uuid.uuid5(uuid.uuid5(BASE_ID, "demo"), first.params["sid"]))
    assert scripted.sql("SELECT sid, job FROM ftsjob") == [(first.params["sid"], first.id)]
    assert first.params["id_generator"] == "deterministic"
    assert all(file.checksum.startswith("adler32:") for file in first.files)
    first.fail(NETWORK)
    scripted.monitor()
    second = scripted.again()
    assert second.params["sid"] == sid_by_hand(scripted, 1, 2, second) != first.params["sid"]


def test_the_id_stands_in_the_intent_before_the_post(scripted: Scripted) -> None:
    scripted.master(scripted.files("/a/1"))
    scripted.produce()
    seen: list[object] = []

    def look(handler: object) -> None:
        seen.extend(scripted.sql("SELECT job, state FROM ftsjob"))
        seen.extend((path.name, path.read_text()) for path in (scripted.home / "migrate/DOING").iterdir())
        odd.nothing(handler)  # type: ignore[arg-type]

    scripted.fts.answers("POST /jobs", look, 1)
    scripted.consume()
    (job, state), (_, text) = seen  # type: ignore[misc]
    assert state == "intent"
    assert f"job={job}" in text


def test_a_409_is_adopted_only_if_the_jobs_files_are_the_intents(scripted: Scripted) -> None:
    scripted.master(scripted.files("/a/1"))
    scripted.produce()
    scripted.fts.answers("POST /jobs", odd.nothing, 1, act=True)
    scripted.consume()
    job = scripted.fts.job()
    mine, job.files = job.files, [File("file:///foreign", "file:///foreign/to")]
    said = scripted.run("migrate-monitor").gave(0)
    assert "has other files than ours" in said.err
    assert scripted.sql("SELECT state FROM ftsjob") == [("intent",)]
    job.files = mine
    scripted.monitor()
    assert scripted.sql("SELECT state FROM ftsjob") == [("submitted",)]
    assert len(scripted.fts.jobs) == 1


def test_a_409_for_a_destination_that_another_job_writes_is_tried_later(scripted: Scripted) -> None:
    scripted.master(scripted.files("/a/1"))
    scripted.produce()
    busy = (409, b'{"status":"409 Conflict","message":"The submission is duplicated (dest_surl_uuid)"}')
    scripted.fts.answers("POST /jobs", busy, 1)
    said = scripted.consume()
    assert "another job at fake writes one of these destinations" in said.err
    assert scripted.states() == {"DOING": 1}
    scripted.monitor()
    assert scripted.sql("SELECT state FROM ftsjob") == [("submitted",)]


# ---- polls -------------------------------------------------------------------------------------------------------------


def test_polls_ask_for_open_jobs_only_at_most_100_a_request_oldest_first(scripted: Scripted) -> None:
    scripted.configure("max_open_jobs = 1000\n", seconds=20)
    lfns = [f"/a/{n}" for n in range(130)]
    scripted.master(scripted.files(*lfns))
    scripted.run("migrate-producer", "--lists", 0, "--lfns", 1).ok()
    scripted.consume()
    assert len(scripted.fts.jobs) == 130
    open_jobs = list(scripted.fts.jobs)
    for job in open_jobs[:10]:
        scripted.fts.jobs[job].finish()
    scripted.fts.requests.clear()
    scripted.monitor()
    first = _asked(scripted)
    assert [len(ids) for ids in first] == [100, 30]
    assert sorted(first[0] + first[1]) == sorted(open_jobs)
    assert scripted.states() == {"Okay": 10, "DOING": 120}
    scripted.fts.requests.clear()
    scripted.fts.answers("GET /jobs/", odd.BROKEN, 1)
    scripted.monitor()
    second = _asked(scripted)
    assert len(second) == 1, "a server that fails is not asked on"
    assert set(second[0]).isdisjoint(open_jobs[:10])
    scripted.fts.requests.clear()
    scripted.monitor()
    third = _asked(scripted)
    assert third[0][:20] == [job for job in first[0] + first[1] if job not in open_jobs[:10]][100:], "least lately asked first"


def _asked(site: Scripted) -> list[list[str]]:
    return [path.partition("?")[0].removeprefix("/jobs/").split(",") for path in site.fts.asked("GET /jobs/")]


def test_a_pass_without_open_jobs_asks_nobody(scripted: Scripted) -> None:
    scripted.begin("/a/1").finish()
    scripted.monitor()
    scripted.fts.requests.clear()
    scripted.monitor()
    scripted.consume()
    scripted.produce()
    assert scripted.fts.requests == []


# ---- the files' states are the truth -----------------------------------------------------------------------------------


def test_what_finished_in_a_canceled_job_is_taken(scripted: Scripted) -> None:
    job = scripted.begin("/a/1", "/a/2", "/a/3")
    job.finish("/a/1")
    job.fail("Job canceled by the user", "/a/2", "/a/3", state="CANCELED")
    job.state = "CANCELED"
    scripted.monitor()
    assert scripted.lines("DONE/Okay") == ["/a/1"]
    assert scripted.lines("TODO") == ["/a/2", "/a/3"]
    assert [name[:8] for name in scripted.names("TODO")] == ["DFTSList"]


def test_a_job_that_calls_itself_finished_does_not_make_its_files_so(scripted: Scripted) -> None:
    job = scripted.begin("/a/1", "/a/2").finish("/a/1")
    job.fail(NETWORK, "/a/2")
    job.state = "FINISHED"
    scripted.monitor()
    assert scripted.states() == {"Okay": 1, "TODO": 1}


def test_canceled_by_others_is_an_attempt_and_waits_60_seconds(scripted: Scripted) -> None:
    scripted.begin("/a/1").fail("Job canceled by the user", state="CANCELED")
    scripted.monitor()
    assert scripted.state("/a/1") == ("TODO", "canceled", 1, 1)
    for seconds, jobs in ((50, 1), (70, 2)):
        scripted.later("migrate-consumer", seconds=seconds).gave(0)
        assert len(scripted.fts.jobs) == jobs, f"after {seconds} s"


# ---- attempts ----------------------------------------------------------------------------------------------------------


def test_bad_after_the_4th_failed_attempt_over_all_classes_together(scripted: Scripted) -> None:
    job = scripted.begin("/a/1")
    for number, reason in enumerate([NETWORK, "Probably stalled", "TRANSFER CHECKSUM MISMATCH", "bad data was encountered"], 1):
        job.fail(reason)
        said = scripted.run("migrate-monitor")
        if number < 4:
            assert scripted.state("/a/1")[::2] == ("TODO", number)
            assert said.code == 0
            job = scripted.again()
    assert said.code == 1
    assert scripted.state("/a/1") == ("Bad", "data", 4, 4)
    text = (scripted.home / "migrate/DONE/Bad" / scripted.names("DONE/Bad")[0]).read_text()
    assert "bad data was encountered" in text.splitlines()[-2]
    assert (scripted.names("TODO"), scripted.names("DOING")) == ([], [])


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("SOURCE [2] No such file or directory", "missing"),
        ("500 No such file or directory", "missing"),
        ("DESTINATION [36] File name too long", "name"),
    ],
)
def test_what_can_not_get_better_is_bad_at_once_and_harms_no_other(reason: str, name: str, scripted: Scripted) -> None:
    job = scripted.begin("/a/1", "/a/2", "/a/3").finish("/a/1")
    job.fail(reason, "/a/2")
    job.fail(NETWORK, "/a/3")
    scripted.monitor()
    assert scripted.state("/a/2") == ("Bad", name, 1, 1)
    assert scripted.lines("DONE/Bad") == ["/a/2"]
    assert scripted.state("/a/3") == ("TODO", "network", 1, 1)
    assert scripted.state("/a/1") == ("Okay", None, 0, 1)
    assert scripted.tally() == {"Okay": 1, "Bad": 1, "TODO": 1}


@pytest.mark.parametrize(
    ("reason", "name", "state"),
    [
        ("DESTINATION [28] No space left on device", "full", "FAILED"),
        ("TRANSFER [13] proxy expired", "credentials", "FAILED"),
        ("Transfer has been forced-canceled because host fts-01 is offline", "server", "FAILED"),
        ("Job has been canceled because it stayed in the queue for too long (max-time-in-queue timeout)", "server", "CANCELED"),
        ("Storage banned", "server", "CANCELED"),
    ],
)
def test_what_is_not_the_files_fault_counts_no_attempt_and_the_list_waits(
    reason: str, name: str, state: str, scripted: Scripted
) -> None:
    job = scripted.begin("/a/1")
    for _ in range(6):
        job.fail(reason, state=state)
        scripted.run("migrate-monitor").gave(0)
        assert scripted.state("/a/1")[:3] == ("TODO", name, 0)
        (waits, why) = scripted.sql("SELECT next_try IS NOT NULL, waits_for FROM filelist")[0]
        assert waits
        assert reason in why
        job = scripted.again()
    job.finish()
    scripted.monitor()
    assert scripted.states() == {"Okay": 1}


def test_the_wait_doubles_and_is_kept(scripted: Scripted) -> None:
    scripted.configure("[migrate]\nretry_seconds = 30\n")
    job = scripted.begin("/a/1")
    for wait in (30, 60, 120):
        job.fail(NETWORK)
        scripted.monitor()
        before = len(scripted.fts.jobs)
        scripted.later("migrate-consumer", seconds=wait - 10).gave(0)
        assert len(scripted.fts.jobs) == before
        scripted.later("migrate-consumer", seconds=wait + 10).gave(0)
        assert len(scripted.fts.jobs) == before + 1
        job = scripted.fts.job()


def test_the_settings_may_give_up_earlier(scripted: Scripted) -> None:
    scripted.configure("[migrate]\nretry_seconds = 1\nmax_attempts = 2\n")
    scripted.begin("/a/1").fail(NETWORK)
    scripted.monitor()
    scripted.again().fail(NETWORK)
    scripted.monitor()
    assert scripted.state("/a/1") == ("Bad", "network", 2, 2)


def test_retries_within_the_server_are_off_unless_asked_for(scripted: Scripted) -> None:
    assert scripted.begin("/a/1").params["retry"] < 0, "0 would mean the server's own default"
    text = (scripted.home / "dmtools.toml").read_text().replace("connect_seconds", "retry = 2\nconnect_seconds")
    (scripted.home / "dmtools.toml").write_text(text)
    assert scripted.begin("/a/2").params["retry"] == 2


# ---- proof -------------------------------------------------------------------------------------------------------------


def test_finished_is_proved_at_the_destination(scripted: Scripted) -> None:
    job = scripted.begin("/a/good", "/a/short", "/a/wrong", "/a/gone")
    job.finish()
    scripted.target("/a/short").write_bytes(b"")
    data = bytearray(scripted.target("/a/wrong").read_bytes())
    data[7] ^= 1
    scripted.target("/a/wrong").write_bytes(data)
    scripted.target("/a/gone").unlink()
    scripted.monitor()
    assert scripted.lines("DONE/Okay") == ["/a/good"]
    assert scripted.sql("SELECT verified_by FROM transfer WHERE name = '/a/good'") == [("storage",)]
    for lfn in ("/a/short", "/a/wrong", "/a/gone"):
        assert scripted.state(lfn)[:3] == ("TODO", "checksum", 1), lfn
    again = scripted.go_on()
    overwrite = {path: job.params["overwrite"] for job in again for path in job.paths}
    assert overwrite == {"short": True, "wrong": True, "gone": False}
    for job in again:
        job.finish()
    scripted.monitor()
    assert scripted.states() == {"Okay": 4}


def test_a_destination_that_cant_be_asked_proves_nothing(scripted: Scripted) -> None:
    scripted.begin("/a/1").finish()
    before = scripted.snapshot()
    echo = scripted.home / "demo/echo"
    echo.rename(echo.with_name("away"))
    echo.write_text("no directory: as a mount that is gone")
    said = scripted.run("migrate-monitor")
    now = scripted.snapshot()
    echo.unlink()
    echo.with_name("away").rename(echo)
    assert "copy not proved yet" in said.err
    assert now == before
    scripted.monitor()
    assert scripted.states() == {"Okay": 1}


SRM = "srm://srm.host:8443/srm/managerv2?SFN=/castor"
GSIFTP = "gsiftp://gridftp.host/lhcb:prod"


def test_schemes_without_a_client_are_proved_by_fts_with_both_checksums(scripted: Scripted) -> None:
    scripted.configure(f'[[migrate.rules]]\nmatch = "/a"\nsource = "{SRM}"\ndestination = "{GSIFTP}"\n')
    scripted.master(["/a/1", "/a/2"])
    scripted.produce()
    scripted.consume()
    job = scripted.fts.job()
    assert [(file.source, file.destination) for file in job.files] == [(f"{SRM}/{n}", f"{GSIFTP}/{n}") for n in (1, 2)]
    assert job.params["verify_checksum"] == "both"
    job.files[0].state = "FINISHED"
    job.fail(EXISTS, "/2")
    scripted.monitor()
    assert scripted.sql("SELECT name, state, verified_by FROM transfer WHERE state = 'Okay'") == [("/a/1", "Okay", "by-fts")]
    assert scripted.state("/a/2")[:2] == ("Bad", "occupied"), "nobody can say whether it is equal"


# ---- overwriting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [EXISTS, ON_TAPE])
def test_an_equal_file_at_the_destination_is_done(words: str, scripted: Scripted) -> None:
    job = scripted.begin("/a/1")
    assert job.params["overwrite"] is False
    _put(scripted.target("/a/1"), scripted.source("/a/1").read_bytes())
    job.fail(words)
    scripted.monitor()
    assert scripted.state("/a/1") == ("Okay", None, 0, 1)
    assert scripted.sql("SELECT verified_by FROM transfer") == [("storage",)]


def test_a_foreign_file_stays_when_our_first_attempt_failed_for_another_reason(scripted: Scripted) -> None:
    """A second attempt of ours does not make it ours: it was there before the first."""
    _put(scripted.target("/a/1"), b"somebody else's")
    job = scripted.begin("/a/1")
    job.fail("TRANSFER [70] Communication error on send", "/a/1")
    scripted.monitor()
    assert scripted.state("/a/1")[0] == "TODO"
    job = scripted.again()
    assert job.params["overwrite"] is False
    job.fail(EXISTS, "/a/1")
    scripted.monitor()
    assert scripted.state("/a/1")[:2] == ("Bad", "occupied")
    assert scripted.target("/a/1").read_bytes() == b"somebody else's"


@pytest.mark.parametrize("words", [EXISTS, ON_TAPE])
def test_a_foreign_file_is_never_overwritten(words: str, scripted: Scripted) -> None:
    _put(scripted.target("/a/1"), b"somebody else's")
    job = scripted.begin("/a/1", "/a/2").finish("/a/2")
    assert job.params["overwrite"] is False
    job.fail(words, "/a/1")
    scripted.monitor()
    assert scripted.state("/a/1")[:2] == ("Bad", "occupied")
    assert scripted.lines("DONE/Okay") == ["/a/2"]
    for _ in range(2):  # a person tries again, and again
        scripted.run("migrate-triage", "--class", "occupied", "--requeue").ok()
        job = scripted.again()
        assert job.params["overwrite"] is False
        job.finish()
        scripted.monitor()
        assert scripted.state("/a/1")[:2] == ("Bad", "occupied")
    name = scripted.names("DONE/Bad")[0]
    (scripted.home / "migrate/DONE/Bad" / name).rename(scripted.home / "migrate/TODO" / name)
    assert scripted.again().params["overwrite"] is False
    assert scripted.target("/a/1").read_bytes() == b"somebody else's"


def test_what_an_attempt_of_ours_left_is_overwritten_by_the_next(scripted: Scripted) -> None:
    scripted.begin("/a/1").fail("TRANSFER [110] Connection timed out")
    scripted.monitor()
    _put(scripted.target("/a/1"), b"half of")
    job = scripted.again()
    assert job.params["overwrite"] is False
    job.fail(EXISTS)
    scripted.monitor()
    assert scripted.state("/a/1")[:3] == ("TODO", "checksum", 2)
    job = scripted.again()
    assert job.params["overwrite"] is True
    job.finish()
    scripted.monitor()
    assert scripted.state("/a/1") == ("Okay", None, 2, 3)
    assert scripted.target("/a/1").read_bytes() == scripted.source("/a/1").read_bytes()


def test_one_file_that_may_be_overwritten_gives_no_leave_to_the_others(scripted: Scripted) -> None:
    job = scripted.begin("/a/1", "/a/2").finish("/a/1")
    scripted.target("/a/1").write_bytes(b"cut")
    job.fail(NETWORK, "/a/2")
    scripted.monitor()
    assert scripted.states() == {"TODO": 2}
    _put(scripted.target("/a/2"), b"somebody else's")
    flags = {path: job.params["overwrite"] for job in scripted.go_on() for path in job.paths}
    assert flags == {"1": True, "2": False}


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
