"""daq-archive on real components: zip jobs in Slurm and HTCondor, site storage and tape two private XRootD servers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dmtools import names
from tests.daq.archive_steps import Archive
from tests.real_batch import HTCondor, Slurm
from tests.real_components import XRootD
from tests.support import Server, wait_until

pytestmark = [pytest.mark.needs("xrootd", "root"), pytest.mark.usefixtures("impatient_resolver")]
MORE = "xrootd.chksum max 8 chkcgi adler32 crc32c md5\n"
NAMES = (b"a_20250131.dat", b"it's a blank_20250131.dat", "größe €_20250131.dat".encode(), b"not\xffutf8_20250131.dat")
LFNS = tuple(names.encode(b"/2501/250131/MIG_1/" + name) for name in NAMES)


@pytest.fixture
def impatient_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the name server loses packets each start of xrdfs would take 5 s."""
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")


@dataclass
class Far(Archive):
    """An Archive whose site is one XRootD server and whose tape another."""

    near: XRootD = field(kw_only=True)
    tape: XRootD = field(kw_only=True)

    def copy(self, lfn: str) -> Path:
        return Path(os.fsdecode(os.fsencode(self.near.data) + b"/site" + names.decode(lfn)))

    def on_tape(self, lfn: str) -> Path:
        return Path(os.fsdecode(os.fsencode(self.tape.data) + b"/tape" + names.decode(lfn) + b".zip"))

    def zips(self) -> list[str]:
        place = self.near.data / "site/zips"
        return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())

    def own(self) -> None:
        """The server's user owns what the test has put there."""
        for server in (self.near, self.tape):
            subprocess.run(["chown", "-R", "--reference", server.data, *server.data.iterdir()], check=True)

    def says(self, lfn: str, status: str) -> None:
        """The tape's server gives the file this `user.status`."""
        os.setxattr(self.on_tape(lfn), "user.U.user.status", status.encode())


@pytest.fixture
def site(home: Path, serve: Callable[..., Server], xrootd_server: Callable[..., XRootD]) -> Far:
    made = Far(home, serve, near=xrootd_server(MORE), tape=xrootd_server(MORE))
    for place in (made.near.data / "site/zips", made.tape.data / "tape"):
        place.mkdir(parents=True)
    made.only()
    made.start()
    return made


def end_to_end(site: Far, batch: str) -> None:
    """Through a real batch system, between real servers; the tape proves nothing before it says NEARLINE."""
    places = f'site = "{site.near.url}site"\ntape = "{site.tape.url}tape"\n'
    site.settings(f'[daq]\n{places}batch = "{batch}"\nmemory_mb = 200\nretry_seconds = 1\n')
    site.at_site(*LFNS)
    site.own()
    site.archive(codes=(0,))
    assert site.files() == {"Zipping": len(LFNS)}
    assert site.sql("SELECT COUNT(*) FROM daq_zip WHERE job IS NULL OR submitted IS NULL") == [(0,)]
    wait_until(lambda: site.archive() and "Zipping" not in site.files(), 90, f"{batch} has run the zip jobs")
    assert site.files() == {"ToTape": len(LFNS)}, site.sql("SELECT reason FROM daq_zip")
    site.over()
    site.archive(codes=(0,))
    assert site.files() == {"ToTape": len(LFNS)}, "the servers say ONLINE"
    assert len(site.zips()) == len(LFNS)
    for lfn, status in zip(LFNS, ("NEARLINE", "ONLINE_AND_NEARLINE", "NEARLINE", "ONLINE"), strict=True):
        site.says(lfn, status)
    site.archive(codes=(0,))
    assert site.files() == {"OnTape": 3, "ToTape": 1}
    site.says(LFNS[3], "NEARLINE")
    site.archive(codes=(0,))
    assert site.files() == {"OnTape": 4}
    assert site.zips() == []
    assert site.jobs() == []
    assert len(site.copies()) == len(LFNS)
    for lfn in LFNS:
        assert site.unzipped(lfn) == site.copy(lfn).read_bytes()
        assert site.zip_row(lfn)["attempt"] == 1


def test_through_slurm_from_server_to_server(site: Far, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    end_to_end(site, "slurm")


def test_through_htcondor_from_server_to_server(site: Far, htcondor: HTCondor, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in htcondor.environment.items():
        monkeypatch.setenv(name, value)
    end_to_end(site, "htcondor")


def test_a_held_job_is_told_with_its_reason_and_goes_on_when_released(
    home: Path, serve: Callable[..., Server], htcondor: HTCondor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in htcondor.environment.items():
        monkeypatch.setenv(name, value)
    site = Archive(home, serve)
    site.settings('[daq]\nbatch = "htcondor"\nmemory_mb = 200\nbatch_options = ["hold = true"]\n')
    (lfn,) = site.at_site(LFNS[0])
    site.archive(codes=(0,))
    found = wait_until(lambda: site.archive(codes=(0,)).json["errors"], 30, "it is told")
    assert found[0]["what"] == "zip job held"
    assert site.zip_row(lfn)["job"] in found[0]["why"]
    assert "submitted on hold" in found[0]["why"].lower(), found
    assert site.files() == {"Zipping": 1}
    site.settings("held_seconds = 1\n")
    with site.database() as db:
        db.execute("UPDATE daq_zip SET next_try = NULL")
    wait_until(lambda: site.archive() and "Zipping" not in site.files(), 60, "it is ended")
    row = site.zip_row(lfn)
    assert (row["state"], row["error_class"], row["failures"]) == ("Waiting", "held", 1)
    assert "held for more than 1 s" in row["reason"]
