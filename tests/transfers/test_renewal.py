"""[credentials] renew: a real little script that writes a new proxy, or fails, or hangs; by whom it is run and how often."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import run
from tests.transfers.test_credentials import Proxy

Say = Callable[..., str]


@pytest.fixture
def renew(home: Path, tmp_path: Path) -> Path:
    """A HOME whose FTS server wants a proxy, and a script that renews it: it counts its runs and does what stands in `how`."""
    script, old, new = tmp_path / "renew", Proxy(tmp_path / "old"), Proxy(tmp_path / "new")
    old.write(timedelta(hours=20))
    new.write(timedelta(days=7))
    shutil.copy(old.path, tmp_path / "proxy")
    script.write_text(f'#!/bin/sh\necho x >> {tmp_path}/runs\necho "for $X509_USER_PROXY" "$@"\n. {tmp_path}/how\n')
    script.chmod(0o755)
    (tmp_path / "how").write_text(f'cp {new.path} "$X509_USER_PROXY.new"; mv "$X509_USER_PROXY.new" "$X509_USER_PROXY"\n')
    with (home / "dmtools.toml").open("a") as file:
        file.write(f'[credentials]\nproxy = "{tmp_path}/proxy"\nrenew = ["{script}", "--voms", "a b"]\n')
        file.write('[fts]\nservers = [{name = "far", url = "https://127.0.0.1:1"}]\n')
    (home / "demo/castor/f").write_text("data")
    (home / "migrate/TODO/ListOfLFNs/all.txt").write_text("/f\n")
    run("migrate-producer", home=home).ok()
    return tmp_path


def runs(place: Path) -> int:
    return len((place / "runs").read_text().split()) if (place / "runs").exists() else 0


def figures(home: Path, later: float = 0) -> dict[str, dict[str, Any]]:
    env = {"DMTOOLS_CLOCK_OFFSET": str(later)}
    found = run("dm-train-ok", "--json", home=home, env=env).gave(0, 1, 2).json
    return {one["family"]: one for one in found["figures"]}


def consume(home: Path, *words: str, later: float = 0) -> None:
    run("migrate-consumer", *words, home=home, env={"DMTOOLS_CLOCK_OFFSET": str(later)}).gave(0, 75)


def test_a_pass_renews_a_proxy_whose_life_gets_short_and_only_then(home: Path, renew: Path) -> None:
    assert figures(home)["proxy_life"]["state"] == "WARNING"
    consume(home, "--dry-run")
    assert runs(renew) == 0, "neither the check nor a dry run renews"
    consume(home)
    assert runs(renew) == 1
    assert (renew / "proxy").read_bytes() == (renew / "new").read_bytes()
    assert figures(home)["proxy_life"]["state"] == "OK"
    assert f"for {renew}/proxy --voms a b" in "".join(path.read_text() for path in (home / "log").glob("credentials-renew-*.log"))
    consume(home)
    assert runs(renew) == 1, "there is nothing to renew"


def test_a_renewal_that_fails_is_told_and_not_tried_at_each_pass(home: Path, renew: Path) -> None:
    (renew / "how").write_text("echo no such VO >&2; exit 3\n")
    consume(home)
    consume(home)
    assert runs(renew) == 1
    found = figures(home)
    assert found["renewal"]["state"] == "WARNING"
    assert "exit code 3" in found["renewal"]["text"]
    assert "no such VO" in found["renewal"]["text"]
    assert found["proxy_life"]["state"] == "WARNING", "and the old one is used as long as it lives"
    consume(home, later=700)
    assert runs(renew) == 2
    (renew / "renew").unlink()
    consume(home, later=1400)
    assert "can't be run: No such file" in figures(home, 1400)["renewal"]["text"]


def test_a_proxy_that_is_not_there_is_made(home: Path, renew: Path) -> None:
    (renew / "proxy").unlink()
    consume(home)
    assert (renew / "proxy").read_bytes() == (renew / "new").read_bytes()


@pytest.mark.needs("xrootd")
def test_daq_transfer_renews_it_too(home: Path, renew: Path) -> None:
    with (home / "dmtools.toml").open("a") as file:
        file.write('[daq]\nsite = "root://127.0.0.1:1//site"\n')
    (home / "demo/daq/data1/ReadyToTransfer").touch()
    run("daq-transfer", "--dry-run", home=home).ok()
    assert runs(renew) == 0
    run("daq-transfer", home=home).ok()
    assert runs(renew) == 1
    assert (renew / "proxy").read_bytes() == (renew / "new").read_bytes()


def test_a_dry_run_that_asks_a_server_renews_nothing(home: Path, renew: Path) -> None:
    with closing(sqlite3.connect(home / "dmtools.db")) as connection, connection:
        connection.execute(
            "INSERT INTO ftsjob (pipeline, list_id, attempt, server, sid, job, vo, state, files, bytes, since)"
            " VALUES ('migrate', 1, 1, 'far', 's', 'j', 'v', 'submitted', 0, 0, '2026-01-01 00:00:00.000000')"
        )
    run("migrate-cancel", "--abandon", "far", "--dry-run", home=home).ok()
    assert runs(renew) == 0
    run("migrate-cancel", "--abandon", "far", home=home).gave(2)  # it asks, and wants --yes
    assert runs(renew) == 1


def test_a_renewal_that_hangs_is_ended(renew: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dmtools.settings import load
    from dmtools.transfers import renewal

    (renew / "how").write_text("echo begun; sleep 100\n")
    monkeypatch.setattr(renewal, "SECONDS", 0.5)
    renewal.try_it(load(home=home), renew / "proxy")
    last = renewal.last(load(home=home))
    assert last is not None
    assert (last.worked, "did not end within 0.5 s" in last.said, "begun" in last.said) == (False, True, True)
