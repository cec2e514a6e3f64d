"""dm-sim daq: a DAQ that fills disks, says so by its flags, and takes them back."""

from __future__ import annotations

import json
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from dmtools.daq.lfn import Naming
from dmtools.settings.kinds import Daq
from tests.support import Server, run, wait_until

QUICK = ("--files", 4, "--file-bytes", 2000, "--every", 0)


def ask(home: Path, path: str, method: str = "GET") -> Any:
    """A request with the token of the address file."""
    told = json.loads((home / "run/sim/daq.json").read_text())
    request = Request(told["url"] + path, method=method, headers={"Authorization": f"Bearer {told['token']}"})
    with urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_it_fills_disks_flags_them_and_takes_back_what_is_handed_back(home: Path, sim: Callable[..., Server]) -> None:
    server = sim(home, "daq", *QUICK)
    assert stat.S_IMODE((home / "run/sim/daq.json").stat().st_mode) == 0o600
    disks = [home / f"demo/daq/data{number}" for number in range(1, 5)]
    wait_until(lambda: all((disk / "ReadyToTransfer").exists() for disk in disks), what="four full disks")
    for one in ask(home, "/sim/files"):
        body = Path(one["path"]).read_bytes()
        assert (len(body), f"adler32:{zlib.adler32(body):08x}") == (one["size"], one["checksum"])
        path = one["path"].partition("/data")[2].partition("/")[2].encode()
        assert Naming(Daq()).look(path, path.rpartition(b"/")[2])[1] is None
    (disks[2] / "ReadyToTransfer").unlink()  # as daq-transfer hands a disk back
    (disks[2] / "ReadyForData").touch()
    wait_until((disks[2] / "ReadyToTransfer").exists, what="the disk is full again")
    assert not (disks[2] / "ReadyForData").exists()
    assert server.stop() == 143
    assert not (home / "run/sim/daq.json").exists()


def test_a_disk_is_filled_at_once_when_it_is_asked_for(home: Path, sim: Callable[..., Server]) -> None:
    sim(home, "daq", *QUICK, "--disks", 1, "--notes", "--dots")
    wait_until((home / "demo/daq/data1/ReadyToTransfer").exists)
    found = ask(home, "/sim/fill/data3", "POST")
    assert [disk["ReadyToTransfer"] for disk in found] == [True, False, True, False]
    assert found[2]["files"] == 4 + 2
    names = {path.name for path in (home / "demo/daq/data3").rglob("*")}
    assert "run_notes.txt" in names
    assert [name for name in names if name.startswith(".")]
    for path, code in (("/sim/fill/data3", 409), ("/sim/fill/none", 404)):
        with pytest.raises(HTTPError, match=str(code)):
            ask(home, path, "POST")
    with pytest.raises(HTTPError, match="401"):
        urlopen(json.loads((home / "run/sim/daq.json").read_text())["url"] + "/sim/disks", timeout=20)


def test_faults_cut_a_file_short_or_hold_it_up(home: Path, sim: Callable[..., Server]) -> None:
    faults = "[[fault]]\nop = 'fail'\nmatch = '*_0001_*'\n\n[[fault]]\nop = 'http500'\nmatch = '*/sim/disks'\ntimes = 1\n"
    (home / "run/sim/daq.faults.toml").write_text(faults)
    sim(home, "daq", "--files", 2, "--file-bytes", 500_000, "--every", 0, "--disks", 1, "--seed", 1)
    wait_until((home / "demo/daq/data1/ReadyToTransfer").exists)
    assert [file["size"] for file in ask(home, "/sim/files")][1] == 1 << 16
    with pytest.raises(HTTPError, match="500"):
        ask(home, "/sim/disks")
    ask(home, "/sim/disks")


def test_wrong_use(home: Path, sim: Callable[..., Server], tmp_path: Path) -> None:
    assert "would write to" in run("dm-sim", "daq", "--dry-run", home=home).ok().out
    file = home / "dmtools.toml"
    file.write_text(f'daq.disks = ["{tmp_path}"]\n' + file.read_text())
    assert "lies outside" in run("dm-sim", "daq", "--port", 0, home=home).gave(2).err
    sim(home, "daq", *QUICK, "--disks", 1, "--root", tmp_path)
    assert "daq runs already" in run("dm-sim", "daq", "--port", 0, "--root", tmp_path, home=home).gave(75).err
