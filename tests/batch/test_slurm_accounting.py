"""Jobs in a real Slurm that soon forgets them and keeps accounts in a real slurmdbd."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dmtools.batch import Job
from dmtools.batch.slurm import SlurmRoom
from tests.batch.steps import PACE, ended, jobs_in
from tests.real_batch import Slurm
from tests.real_components import MariaDb
from tests.support import free_port, wait_until

pytestmark = pytest.mark.needs("slurm", "root")


@pytest.fixture
def accounting(mariadb_server: MariaDb) -> Iterator[Slurm]:
    """A Slurm of the test's own with accounting."""
    mariadb_server.stop()
    port = free_port()
    mariadb_server.start("--skip-networking=OFF", f"--port={port}", "--bind-address=127.0.0.1")
    mariadb_server.say("CREATE DATABASE slurm_acct")
    mariadb_server.say("GRANT ALL ON slurm_acct.* TO slurm@'127.0.0.1' IDENTIFIED BY 'pw'")
    place = Path(tempfile.mkdtemp(prefix="dms-", dir="/tmp"))
    place.chmod(0o755)
    cluster = Slurm(place).account(port).prepare()
    try:
        yield cluster.start()
    finally:
        cluster.stop()
        shutil.rmtree(place)


def test_what_squeue_forgot_is_told_by_sacct_and_unknown_while_that_is_down(
    accounting: Slurm, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", accounting.environment["SLURM_CONF"])
    room, job = SlurmRoom(short_tmp / "room"), jobs_in(short_tmp / "jobs")
    _ends_without_its_own_word(room, job)
    _is_forgotten(accounting, "cut")
    told = room.statuses(["cut", "never"])  # its record came before it was forgotten, or comes now
    assert told["cut"].how in ("failed", "unknown")

    def is_told() -> bool:
        PACE.wait(0.2)
        return room.statuses(["cut"])["cut"].how == "failed"

    wait_until(is_told, 60, "sacct has its record")
    assert room.statuses(["cut"])["cut"].reason == "CANCELLED"
    assert told["never"].how == "gone"
    accounting.stop("slurmdbd")
    down = SlurmRoom(room.place, seconds=30).statuses(["cut", "never"])
    assert (down["cut"].how, down["never"].how) == ("unknown", "gone")
    assert "sacct can't be asked" in down["cut"].reason


def _ends_without_its_own_word(room: SlurmRoom, job: Callable[..., Job]) -> None:
    cut = job("cut", "sh", "-c", "echo x > ran; exec sleep 600")
    room.submit([cut])
    wait_until((cut.directory / "ran").exists, 30, "it runs")
    room.cancel(["cut"])
    assert ended(room, "cut")["cut"].reason == "CANCELLED"
    (room.place / "cut/ended").unlink(missing_ok=True)


def _is_forgotten(cluster: Slurm, key: str) -> None:
    def forgotten() -> bool:
        PACE.wait(0.2)
        return key not in cluster.ask("squeue", "-h", "-t", "all", "-o", "%j").split()

    wait_until(forgotten, 120, "MinJobAge is over")


def test_a_job_that_began_and_has_no_record_yet_is_unknown_and_after_some_minutes_gone(
    accounting: Slurm, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", accounting.environment["SLURM_CONF"])
    room = SlurmRoom(short_tmp / "room")
    for name in ("began", "booked"):
        (room.place / name).mkdir(parents=True)
        (room.place / name / "job.sh").touch()
    (room.place / "began/started").write_text("node7\n")
    found = room.statuses(["began", "booked"])
    assert (found["began"].how, found["booked"].how) == ("unknown", "gone")
    os.utime(room.place / "began/missed", (1, 1))
    assert room.statuses(["began"])["began"].how == "gone"
