"""daq-archive and its zip jobs: submitted once, killed anywhere, lost, doubled, held back; proved by the storage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.batch import Job, room_for
from dmtools.daq import results
from dmtools.settings import load
from tests.daq.archive_steps import DAY, Archive
from tests.support import ROOT, Server, environment, wait_until
from tests.transfers.test_credentials import Proxy

WORDS = st.sampled_from(("key", "state", "zip", "files", "size", "checksum", "lfn", "crc32", "wide", "schema", "dm-key", "done"))
JSON = st.one_of(st.none(), st.booleans(), st.integers(-1, 2), WORDS)


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Archive:
    return Archive(home, serve)


def zip_command(site: Archive, script: str, more: str = "") -> None:
    """Jobs run this shell text; `$ZIP` is daq-zip itself, `$GATE` a file that the test makes."""
    path = site.home / "job.sh"
    path.write_text(f"ZIP='{sys.executable} {ROOT}/bin/daq-zip'; GATE={site.home}/gate; MARKS={site.home}\n{script}\n")
    site.settings(f'[daq]\nzip_command = ["/bin/sh", "{path}"]\n{more}\n')


WAITS = 'while [ ! -e "$GATE" ]; do sleep 0.02; done; exec $ZIP "$@"'


def test_line_4_a_file_whose_job_is_open_is_not_submitted_again(site: Archive) -> None:
    zip_command(site, WAITS, "max_jobs = 3")
    lfns = site.at_site(*(f"{DAY}{n}_20250131T010101.dat" for n in range(5)))
    for _ in range(3):
        site.archive(codes=(0,))
        assert site.files() == {"AtSite": 2, "Zipping": 3}
        assert len(site.jobs()) == 3, "max_jobs"
    assert site.sql("SELECT SUM(attempt) FROM daq_zip") == [(3,)]
    (site.home / "gate").touch()
    site.zipped()
    assert site.files() == {"ToTape": 5}
    assert [site.zip_row(lfn)["attempt"] for lfn in lfns] == [1] * 5
    assert len(site.zips()) == 5


def test_line_4_of_two_jobs_for_one_file_only_that_of_the_row_counts(site: Archive) -> None:
    """The first is given up for lost and done again; but it goes on, and its zip and its result come before the second's."""
    zip_command(site, WAITS)
    (lfn,) = site.at_site(f"{DAY}a_20250131T010101.dat")
    site.archive()
    first = site.zip_row(lfn)
    lose(site, first["job_key"])
    site.archive()
    site.due()
    site.archive()
    second = site.zip_row(lfn)
    assert site.files() == {"Zipping": 1}
    assert (second["job_key"] != first["job_key"], second["place"] != first["place"], second["attempt"]) == (True, True, 2)
    site.run("daq-zip", site.home / "daq/jobs" / first["job_key"] / "job.json").ok()
    assert [first["job_key"] in name for name in site.zips()] == [True]
    site.archive()
    assert site.files() == {"Zipping": 1}, "the first does not count"
    (site.home / "gate").touch()
    site.zipped()
    row = site.zip_row(lfn)
    assert (row["place"], row["job_key"]) == (second["place"], second["job_key"])
    assert [second["job_key"] in name for name in site.zips()] == [True], "what the first left is removed"


def lose(site: Archive, key: str) -> None:
    """The batch system forgets a job."""
    room = room_for(load(home=site.home), "local")
    room.cancel([key])
    room.forget([key])


@pytest.mark.needs("strace")
def test_line_6_a_job_killed_at_every_stage_is_done_again(site: Archive) -> None:
    """Before it starts, while it reads and writes, in its upload, before and behind its result."""
    killed = "strace -f -qq -o /dev/null -e trace={0} -e inject={0}:signal=KILL:when={1} $ZIP job.json; kill -9 $$"
    stages = {
        "start": "kill -9 $$",
        "read": killed.format("readv", 1),
        "written": killed.format("fsync", 1),
        "renamed": killed.format("rename", 1),
        "result": "$ZIP job.json; rm job.result.json; kill -9 $$",
        "done": "$ZIP job.json; kill -9 $$",
    }
    cases = "".join(f'*/{name}_*) if mkdir "$MARKS/{name}"; then {text}; fi;;\n' for name, text in stages.items())
    zip_command(site, f'case "$(cat job.json)" in\n{cases}esac\nexec $ZIP "$@"', "retry_seconds = 600")
    lfns = {name: f"{DAY}{name}_20250131T010101.dat" for name in stages}
    site.at_site(*lfns.values())

    def ended() -> bool:
        site.archive(codes=(0,))
        return "Zipping" not in site.files()

    wait_until(ended, 30, "every first attempt has ended")
    rows = {name: site.zip_row(lfn) for name, lfn in lfns.items()}
    assert [name for name, row in rows.items() if row["state"] != "Waiting"] == ["done"], "its result was there"
    assert {row["failures"] for name, row in rows.items() if name != "done"} == {1}
    assert "without a result" in rows["start"]["reason"]
    site.due()
    site.zipped()
    site.archive()
    assert site.files() == {"ToTape": 6}
    assert len(site.zips()) == 6, site.zips()
    assert site.jobs() == []


def test_a_job_that_always_fails_is_bad_after_its_attempts_and_comes_back_by_retry(site: Archive) -> None:
    site.settings("[daq]\nmax_attempts = 2\nretry_seconds = 1\n")
    good, bad = site.at_site(f"{DAY}good_20250131T010101.dat", f"{DAY}bad_20250131T010101.dat")
    right = site.copy(bad).read_bytes()
    site.copy(bad).write_bytes(b"?" + right[1:])
    found = []

    def is_bad() -> bool:
        found.append(site.archive().json)
        site.due()
        return "Bad" in site.files()

    wait_until(is_bad, 20, "Bad after two attempts")
    assert site.sql("SELECT attempt, failures FROM daq_zip WHERE state = 'Bad'") == [(2, 2)]
    assert site.files() == {"ToTape": 1, "Bad": 1}
    (told,) = [one for one in found[-1]["errors"] if one["what"] == "Bad"]
    assert told["subject"] == f"{bad}.zip"
    assert "--retry checksum" in told["next"]
    row = site.sql("SELECT error_class, reason FROM daq_file WHERE lfn = ?", bad)[0]
    assert row[0] == "checksum", row
    assert row[1]
    site.run("daq-archive", "--retry", "/no/such").gave(2)
    said = site.run("daq-archive", "--retry", good, "--json").gave(1).json["errors"]
    assert "not Bad" in said[0]["why"]
    site.copy(bad).write_bytes(right)
    site.run("daq-archive", "--retry", bad).ok()
    assert site.files() == {"ToTape": 1, "AtSite": 1}
    site.zipped()
    assert site.files() == {"ToTape": 2}


def test_trouble_of_the_node_is_no_attempt_of_the_file(site: Archive) -> None:
    result = '{"key": "%s", "state": "failed", "error_class": "full", "reason": "no scratch space", "wide": true}'
    zip_command(site, f"printf '{result}' \"$(basename $PWD)\" > job.result.json; exit 75", "max_attempts = 1")
    (lfn,) = site.at_site(f"{DAY}a_20250131T010101.dat")
    site.archive()
    site.jobs_over()
    found = wait_until(lambda: site.archive().json["errors"], 10, "its failure is told")
    assert "no scratch space" in found[0]["why"]
    assert site.files() == {"AtSite": 1}
    row = site.zip_row(lfn)
    assert (row["state"], row["failures"], row["error_class"]) == ("Waiting", 0, "full")


@pytest.mark.parametrize("damage", ["cut", "gone", "other file", "rubbish result", "other key"])
def test_a_zip_is_booked_only_as_the_storage_says(site: Archive, damage: str) -> None:
    (lfn,) = site.at_site(f"{DAY}a_20250131T010101.dat")
    site.archive()
    site.jobs_over()
    row = site.zip_row(lfn)
    place = Path(row["place"].removeprefix("file://"))
    result = site.home / "daq/jobs" / row["job_key"] / "job.result.json"
    said = json.loads(result.read_text())
    match damage:
        case "cut":
            place.write_bytes(place.read_bytes()[:-1] + b"?")
        case "gone":
            place.unlink()
        case "other file":
            said["files"][0]["checksum"] = "adler32:00000001"
            result.write_text(json.dumps(said))
        case "rubbish result":
            result.write_bytes(b"\xff{")
        case "other key":
            result.write_text(json.dumps({**said, "key": "dm-other"}))
    wait_until(lambda: site.archive() and "Zipping" not in site.files(), 10, "the job is over")
    assert site.files() == {"AtSite": 1}
    row = site.zip_row(lfn)
    assert (row["state"], row["failures"], row["zip_checksum"]) == ("Waiting", 1, None)
    assert row["reason"]
    site.due()
    site.zipped()
    site.archive()
    assert site.files() == {"ToTape": 1}
    assert len(site.zips()) == 1


def test_an_unmounted_place_of_zips_fails_nothing(site: Archive) -> None:
    site.at_site(f"{DAY}a_20250131T010101.dat")
    site.archive()
    site.jobs_over()
    place = site.home / "demo/site/zips"
    place.rename(place.with_name("elsewhere"))
    found = wait_until(lambda: site.archive(codes=(0,)).json["errors"], 10, "it is told")
    assert found[0]["what"] == "zip not proved yet"
    assert site.files() == {"Zipping": 1}
    place.with_name("elsewhere").rename(place)
    site.archive(codes=(0,))
    assert site.files() == {"ToTape": 1}


def test_a_lost_job_is_done_again_and_what_it_uploads_late_is_removed(site: Archive) -> None:
    zip_command(site, WAITS, "retry_seconds = 1")
    (lfn,) = site.at_site(f"{DAY}a_20250131T010101.dat")
    site.archive()
    lost = site.zip_row(lfn)
    lose(site, lost["job_key"])
    site.archive()
    row = site.zip_row(lfn)
    assert (row["state"], row["error_class"], row["failures"]) == ("Waiting", "lost", 0)
    late = Path(lost["place"].removeprefix("file://"))
    (site.home / "gate").touch()
    site.due()
    site.zipped()
    late.parent.mkdir(parents=True, exist_ok=True)
    late.write_bytes(b"late")
    site.archive()
    assert not late.exists()
    (left,) = site.jobs()
    assert left.name == lost["job_key"], "its node may be cut off and write once more"
    os.utime(left / "job.json", (0, 0))
    site.archive()
    assert site.jobs() == []
    assert site.zip_row(lfn)["job_key"] != lost["job_key"]
    assert site.files() == {"ToTape": 1}


def test_a_kill_between_intent_and_batch_system_costs_no_second_job(site: Archive) -> None:
    """What it leaves: a key in the row, no word of the batch system; the job was there, or not."""
    zip_command(site, f"echo run >> $MARKS/runs; {WAITS}")
    site.at_site(f"{DAY}a_20250131T010101.dat", f"{DAY}b_20250131T010101.dat")
    site.archive()
    first, second = (site.zip_row(f"{DAY}{name}_20250131T010101.dat") for name in "ab")
    lose(site, second["job_key"])
    for name in os.listdir(site.home / "daq/jobs" / second["job_key"]):
        (site.home / "daq/jobs" / second["job_key"] / name).unlink()
    (site.home / "daq/jobs" / second["job_key"]).rmdir()
    with site.database() as db:
        db.execute("UPDATE daq_zip SET submitted = NULL, job = NULL")
    site.archive(codes=(0,))
    assert site.sql("SELECT COUNT(*) FROM daq_zip WHERE submitted IS NULL") == [(0,)]
    (site.home / "gate").touch()
    site.zipped()
    assert (site.home / "runs").read_text().count("run") == 3, "the lost one twice, the other once"
    assert [site.zip_row(f"{DAY}{n}_20250131T010101.dat")["job_key"] for n in "ab"] == [first["job_key"], second["job_key"]]


@pytest.mark.needs("strace")
def test_line_11_a_job_knows_no_database(site: Archive) -> None:
    """Whatever a job opens, it is no file of HOME but its own directory's."""
    trace = site.home / "trace"
    zip_command(site, f'exec strace -f -qq -y -e trace=openat,open,connect -o {trace} $ZIP "$@"')
    site.at_site(f"{DAY}a_20250131T010101.dat")
    site.zipped()
    assert site.files() == {"ToTape": 1}
    assert "job.json" in trace.read_text()
    assert "dmtools.db" not in trace.read_text()
    assert "sqlalchemy" not in trace.read_text()


def test_small_files_of_a_day_share_a_zip(site: Archive) -> None:
    site.settings("[daq]\ngroup_bytes = 1000\n")
    small = site.at_site(*(f"{DAY}{n}_20250131T010101.dat" for n in range(4)), data=b"x" * 300)
    (other,) = site.at_site("/2502/250201/MIG_2/n_20250201.dat", data=b"y" * 300)
    (large,) = site.at_site(f"{DAY}large_20250131T010101.dat", data=b"z" * 1000)
    site.zipped()
    names = sorted(name for (name,) in site.sql("SELECT name FROM daq_zip"))
    assert names == sorted([f"{small[0]}.and-2.zip", f"{small[3]}.zip", f"{other}.zip", f"{large}.zip"])
    assert site.sql("SELECT files, bytes FROM daq_zip WHERE name LIKE '%and-2%'") == [(3, 900)]
    assert site.files() == {"ToTape": 6}


def test_a_dry_run_changes_nothing(site: Archive) -> None:
    site.at_site(f"{DAY}a_20250131T010101.dat")
    before = sorted(map(str, site.home.rglob("*")))
    said = site.run("daq-archive", "--dry-run").ok().out
    assert "would choose 1 files" in said
    assert sorted(map(str, site.home.rglob("*"))) == before
    assert site.files() == {"AtSite": 1}


def test_a_room_that_is_away_gives_75_and_nothing_is_lost(site: Archive) -> None:
    site.at_site(f"{DAY}a_20250131T010101.dat")
    place = site.home / "run/batch"
    place.write_text("in the way of the local room")
    found = site.archive(codes=(75,)).json
    assert found["state"] == "unavailable"
    place.unlink()
    site.zipped()
    assert site.files() == {"ToTape": 1}
    assert site.sql("SELECT attempt, failures FROM daq_zip") == [(1, 0)]


def test_a_halt_and_a_drain(site: Archive) -> None:
    zip_command(site, WAITS)
    site.at_site(f"{DAY}a_20250131T010101.dat")
    site.archive()
    site.at_site(f"{DAY}b_20250131T010101.dat")
    site.run("dm-command", "drain", "daq/archive").ok()
    (site.home / "gate").touch()
    site.jobs_over()
    wait_until(lambda: site.archive() and "Zipping" not in site.files(), 10, "the open job is booked")
    assert site.files() == {"AtSite": 1, "Zipped": 1}, "nothing new begins"


def test_the_job_directory_of_another_zip_is_left(site: Archive) -> None:
    """A directory that no row explains is no leftover of ours to remove."""
    site.at_site(f"{DAY}a_20250131T010101.dat")
    site.zipped()
    site.archive()
    strange = site.home / "daq/jobs/dm-0123"
    strange.mkdir()
    (strange / "job.json").write_text("{}")
    site.archive()
    assert (strange / "job.json").exists()
    assert isinstance(room_for(load(home=site.home), "local").statuses([]), dict)
    assert Job("k", ("true",), strange).outputs == ()


def test_an_expired_proxy_begins_no_job(site: Archive) -> None:
    proxy = site.home / "proxy.pem"
    site.settings('[daq]\nsite = "root://127.0.0.1:1//site"\n[credentials]\nproxy = "proxy.pem"\n')
    site.at_site(f"{DAY}a_20250131T010101.dat")
    Proxy(proxy).write(timedelta(seconds=500))
    (told,) = site.archive(codes=(75,)).json["errors"]
    assert (told["what"], "less than 1000 s" in told["why"]) == ("no credentials for zip jobs", True)
    assert site.files() == {"AtSite": 1}
    assert site.sql("SELECT COUNT(*) FROM daq_zip") == [(0,)]
    Proxy(proxy).write(timedelta(days=1))
    site.archive(codes=(0,))
    assert site.files() == {"Zipping": 1}


def test_passes_at_once_share_the_work(site: Archive) -> None:
    """What one pass would have done: each zip has one attempt and one upload, each file counts once."""
    lfns = site.at_site(*(f"{DAY}{n}_20250131T010101.dat" for n in range(12)))
    for _ in range(3):
        argv = [sys.executable, str(ROOT / "bin/daq-archive"), "-q"]
        passes = [subprocess.Popen(argv, env=environment(site.home), stderr=subprocess.PIPE) for _ in range(4)]
        said = [one.communicate(timeout=120)[1].decode() for one in passes]
        assert {one.returncode for one in passes} <= {0, 75}, said
        assert "internal error" not in "".join(said)
        site.jobs_over()
    assert site.files() == {"ToTape": 12}
    assert [site.zip_row(lfn)["attempt"] for lfn in lfns] == [1] * 12
    assert len(site.zips()) == 12
    assert site.sql("SELECT COUNT(DISTINCT place_key), COUNT(*) FROM transfer") == [(12, 12)]
    assert site.sql("SELECT COUNT(*) FROM journal WHERE kind = 'daq-zip' AND to_state = 'ToTape'") == [(12,)]


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(JSON, lambda inner: st.dictionaries(WORDS, inner)).map(lambda v: json.dumps(v).encode()),
    )
)
def test_no_result_file_is_taken_for_done_unless_it_says_so(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "job.result.json"
    path.write_bytes(data)
    found = results.read(path, "dm-key")
    if not isinstance(found, results.Failure):
        assert found is not None
        assert (found.key, found.state, found.zip is not None) == ("dm-key", "done", True)


def test_a_result_that_can_not_be_read_now_stops_nobody_else(site: Archive) -> None:
    good, other = site.at_site(f"{DAY}a_20250131T010101.dat", f"{DAY}b_20250131T010101.dat")
    site.archive()
    site.jobs_over()
    result = site.home / "daq/jobs" / site.zip_row(other)["job_key"] / "job.result.json"
    kept = result.read_bytes()
    result.unlink()
    result.mkdir()
    wait_until(lambda: site.archive() and "ToTape" in site.files(), 20, "the good one is booked")
    assert site.zip_row(good)["state"] == "ToTape"
    assert site.files() == {"ToTape": 1, "Zipping": 1}
    assert site.zip_row(other)["failures"] == 0
    result.rmdir()
    result.write_bytes(kept)
    site.archive()
    assert site.files() == {"ToTape": 2}
