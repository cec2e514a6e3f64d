"""datalogger-declare with the journal and the simulated MetaCat."""

from __future__ import annotations

import subprocess

import pytest

from tests.datalogger.depot import FILE, FILES, Depot, depot, filled, said_nowhere
from tests.support import command, environment, run, wait_until

__all__ = ["depot", "filled"]
DATASET = "datalogger:params"


def test_the_journal_has_a_line_a_file_and_a_second_pass_adds_none(depot: Depot) -> None:
    planned = depot.declare("--dry-run").ok()
    assert planned.out.count("would declare") == 2
    assert not (depot.home / "datalogger/declared.ndjson").exists()
    assert depot.stand() == {}
    depot.declare().ok()
    assert depot.declare().ok().out == ""
    assert [line["name"] for line in depot.lines()] == list(FILES)
    line = depot.lines()[0]
    assert (line["bytes"], line["adler32"]) == depot.checksum()
    assert line["devices"] == ["B:VIMAX", "B:VIMIN"]
    assert (line["start"], line["rows"]) == ("2026-11-03T06:00:00Z", 2 * 8640)
    assert depot.stand() == {"journal 2026-11-03": "declared", "journal 2026-11-04": "declared"}


def test_a_torn_last_line_is_mended_and_ten_at_once_write_each_file_once(depot: Depot) -> None:
    path = depot.home / "datalogger/declared.ndjson"
    path.write_bytes(b'{"name": "other.h5", "bytes": 1, "adler32": "00000001"}\n{"name": "params-2026')
    argv, env = command("datalogger-declare"), environment(depot.home, depot.clock(depot.at))
    crowd = [subprocess.Popen(argv, env=env, stderr=subprocess.PIPE) for _ in range(4)]
    said = [one.communicate(timeout=120)[1] for one in crowd]
    assert [one.returncode for one in crowd] == [0] * 4, said
    assert [line["name"] for line in depot.lines()] == ["other.h5", *FILES]
    assert path.read_bytes().endswith(b"}\n")


def test_a_journal_that_was_lost_is_written_anew_by_reconcile(depot: Depot) -> None:
    depot.declare().ok()
    (depot.home / "datalogger/declared.ndjson").unlink()
    depot.declare().ok()
    assert not (depot.home / "datalogger/declared.ndjson").exists()
    assert "would declare" in depot.declare("--reconcile", "--dry-run").ok().out
    assert "written lacked there" in depot.declare("--reconcile").ok().out
    assert [line["name"] for line in depot.lines()] == list(FILES)


def test_metacat_gets_a_file_with_its_metadata_in_the_dataset(depot: Depot) -> None:
    depot.use("journal", "metacat")
    depot.metacat()
    client = depot.metacat_client()
    assert depot.declare("--dry-run").ok().out.count("would declare") == 4
    assert client.get_dataset(DATASET) is None
    done = depot.declare().ok()
    record = client.get_file(namespace="datalogger", name=FILE, with_datasets=True)
    size, adler32 = depot.checksum()
    assert (record["size"], record["checksums"]) == (size, {"adler32": adler32})
    assert record["datasets"] == [{"namespace": "datalogger", "name": "params"}]
    assert record["metadata"]["datalogger.devices"] == ["B:VIMAX", "B:VIMIN"]
    assert record["metadata"]["datalogger.timezone"] == "America/Chicago"
    assert all("." in key for key in record["metadata"])
    assert [one["name"] for one in client.query(f"files from {DATASET} where datalogger.start = 2026-11-03T06:00:00Z")] == [FILE]
    fid = record["fid"]
    depot.declare("--reconcile").ok()
    assert client.get_file(namespace="datalogger", name=FILE)["fid"] == fid
    said_nowhere(depot, done)


def test_metacat_that_has_another_file_of_the_name_is_told_and_not_touched(depot: Depot) -> None:
    depot.use("metacat")
    depot.metacat()
    client = depot.metacat_client()
    client.create_dataset(DATASET)
    theirs = {"namespace": "datalogger", "name": FILE, "size": 7, "checksums": {"adler32": "00000007"}}
    client.declare_files(DATASET, [theirs])
    told = depot.declare().gave(1)
    assert "differs" in told.err
    assert "adler32 00000007" in told.err
    assert client.get_file(namespace="datalogger", name=FILE)["checksums"] == {"adler32": "00000007"}
    assert depot.stand() == {"metacat 2026-11-03": "differs", "metacat 2026-11-04": "declared"}
    depot.declare().ok()
    noted = run("dm-monitoring", "datalogger", home=depot.home, env=depot.clock(depot.at)).ok().out
    assert "1 declared, 1 differs" in noted
    traced = run("dm-trace", FILE, "--json", home=depot.home, env=depot.clock(depot.at)).ok().json
    assert "adler32 00000007" in str(traced)
    checked = run("dm-train-ok", home=depot.home, env=depot.clock(depot.at))
    assert f"{FILE} at metacat differs" in checked.out
    client.delete_file(namespace="datalogger", name=FILE)
    depot.declare("--reconcile").ok()
    assert depot.stand()["metacat 2026-11-03"] == "declared"
    assert client.get_file(namespace="datalogger", name=FILE)["size"] == depot.checksum()[0]


def test_metacat_away_holds_up_nothing_and_all_away_is_75(depot: Depot) -> None:
    depot.use("journal", "metacat")
    server = depot.metacat()
    server.kill()
    told = depot.declare().ok()
    assert "a catalogue is away" in told.err
    assert len(depot.lines()) == 2
    assert depot.stand()["metacat 2026-11-03"] == "undeclared"
    assert depot.sql("SELECT SUM(failures) FROM datalogger_declaration") == [(0,)]
    depot.declare().gave(75)
    depot.metacat()
    depot.declare().ok()
    assert set(depot.stand().values()) == {"declared"}


def test_an_answer_that_is_lost_or_late_or_an_error_doubles_nothing(depot: Depot) -> None:
    depot.use("metacat")
    depot.metacat(call_seconds=1)
    client = depot.metacat_client()
    depot.metacat_faults('op="lose-answer"; match="declare_files"; times=1')
    depot.declare().gave(75)
    assert client.get_file(namespace="datalogger", name=FILE) is not None
    assert depot.stand()["metacat 2026-11-03"] == "undeclared"
    depot.metacat_faults('op="silent"; match="declare_files"; times=1')
    depot.declare().gave(75)
    assert depot.stand() == {"metacat 2026-11-03": "declared", "metacat 2026-11-04": "undeclared"}
    depot.metacat_faults('op="http500"; match="declare_files"; reason="a very bad day"; times=1')
    told = depot.declare().gave(1)
    assert "a very bad day" in told.err
    depot.declare().ok()  # not ready yet
    assert depot.stand()["metacat 2026-11-04"] == "undeclared"
    depot.declare("--reconcile").ok()
    assert sorted(one["name"] for one in client.get_dataset_files(DATASET)) == list(FILES)


@pytest.mark.parametrize(("token", "said"), [("", "holds no token"), ("x.y.z", "holds no token")])
def test_a_token_that_is_none_is_told_without_itself(depot: Depot, token: str, said: str) -> None:
    depot.use("metacat")
    secret = depot.home / "secrets/metacat.token"
    secret.write_text(token)
    secret.chmod(0o600)
    depot.metacat(token_file="secrets/metacat.token")
    told = depot.declare().gave(1)
    assert said in told.err
    assert set(depot.stand().values()) == {"undeclared"}


def test_a_token_that_is_over_is_renewed_by_the_hook_and_a_dry_run_renews_nothing(depot: Depot) -> None:
    depot.use("metacat")
    secret = depot.home / "secrets/metacat.token"
    secret.write_text("")
    secret.chmod(0o600)
    depot.metacat(token_file=str(secret))
    hook = depot.home / "renew"
    hook.write_text(f"#!/bin/sh\ncat {depot.home}/run/sim/metacat.token > {secret}\n")
    hook.chmod(0o755)
    file = depot.home / "dmtools.toml"
    file.write_text(f'credentials.renew = ["{hook}"]\n' + file.read_text())
    depot.declare("--dry-run").gave(1)
    assert secret.read_text() == ""
    told = depot.declare().ok()
    assert set(depot.stand().values()) == {"declared"}
    said_nowhere(depot, told)


def test_a_catalogue_that_is_slow_holds_up_no_other(depot: Depot) -> None:
    depot.use("metacat", "journal")
    server = depot.metacat(call_seconds=120)
    depot.metacat_faults('op="silent"; match="GET /data/file"; times=1')
    slow = subprocess.Popen(
        command("datalogger-declare"), env=environment(depot.home, depot.clock(depot.at)), stderr=subprocess.PIPE
    )
    path = depot.home / "datalogger/declared.ndjson"
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") == 2, 60, "the journal has both")
    assert slow.poll() is None
    server.kill()
    assert "declared" not in {state for key, state in depot.stand().items() if key.startswith("metacat")}
    assert b"a catalogue is away" in slow.communicate(timeout=60)[1]
    assert slow.returncode == 0
    assert depot.stand()["metacat 2026-11-03"] == "undeclared"
