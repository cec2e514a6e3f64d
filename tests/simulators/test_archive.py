"""dm-sim archive: an hsi that speaks as HPSS's does, a tape that is slow, and faults on demand."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.lta.remote_steps import DATA, Archive, archive_of
from tests.support import Result, Server, environment

SUM = hashlib.sha512(DATA).hexdigest()


@pytest.fixture(scope="module")
def archive(home_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    yield from archive_of(home_template, tmp_path_factory.mktemp("archive"))


def hsi(archive: Archive, line: str, code: int = 0, program: str = "hsi") -> str:
    """What it prints; a complaint when it fails."""
    argv = [program, "-q", "-P", line] if program == "hsi" else [program, line]
    done = subprocess.run(argv, env=environment(extra=archive.env), capture_output=True, text=True, check=False)
    assert done.returncode == code, done
    return done.stdout if code == 0 else done.stderr


def test_hsi_puts_lists_sums_verifies_moves_and_gets(archive: Archive, short_tmp: Path) -> None:
    archive.faults()
    (short_tmp / "a b").write_bytes(DATA)
    assert "[-2: HPSS_ENOENT]" in hsi(archive, f'put -c on -H sha512 "{short_tmp}/a b" : /p/x/f', 64)
    hsi(archive, f'mkdir -p /p/x ; put -c on -H sha512 "{short_tmp}/a b" : "/p/x/f g"')
    size, when = hsi(archive, 'ls -l "/p/x/f g"').split()[4:6]
    assert (int(size), len(when)) == (len(DATA), 3)
    assert hsi(archive, 'hashlist "/p/x/f g"') == f"{SUM} sha512 /p/x/f g [hsi]\n"
    assert hsi(archive, 'hashverify -A "/p/x/f g"') == "/p/x/f g: (sha512) OK\n"
    hsi(archive, 'mv "/p/x/f g" /p/x/h')
    assert "HPSS_ENOENT" in hsi(archive, 'ls -l "/p/x/f g"', 64)
    hsi(archive, f"get -c on {short_tmp}/back : /p/x/h")
    assert (short_tmp / "back").read_bytes() == DATA
    assert hsi(archive, "ls -l /p/x").splitlines()[0] == "/p/x:"
    archive.flip("/p/x/h")
    assert "INVALID" in hsi(archive, "hashverify /p/x/h")
    assert "checksum mismatch" in hsi(archive, f"get -c on {short_tmp}/back : /p/x/h", 64)
    hsi(archive, "rm /p/x/h")
    assert archive.ask("GET", "/sim/files") == []
    for wrong in ("ls -l /p/*", 'ls -l "/p', "rm /a /b", "delete /p", "put a b", "ls -l /p/../x", "ls -l /.sums/x"):
        hsi(archive, wrong, 64)


def test_a_put_without_a_checksum_has_none(archive: Archive, short_tmp: Path) -> None:
    archive.faults()
    (short_tmp / "a").write_bytes(DATA)
    hsi(archive, f"mkdir -p /q; put {short_tmp}/a : /q/a")
    assert hsi(archive, "hashlist /q/a") == "(none)  /q/a\n"
    hsi(archive, "hashverify /q/a", 1)
    hsi(archive, "rm /q/a")


def test_faults_of_the_tape(archive: Archive, short_tmp: Path) -> None:
    (short_tmp / "a").write_bytes(DATA)
    put = f"put -c on -H sha512 {short_tmp}/a : /r/a"
    archive.faults({"match": "hpss_avail", "op": "fail", "times": 1})
    hsi(archive, "archive", 1, "hpss_avail")
    hsi(archive, "archive", 0, "hpss_avail")
    hsi(archive, "mkdir -p /r")
    stored = {}
    for op in ("nothing", "truncate", "corrupt", "no-checksum"):
        archive.faults({"match": "put /r", "op": op})
        hsi(archive, put)
        stored[op] = archive.ask("GET", "/sim/files")
        if stored[op]:
            hsi(archive, "rm /r/a")
    assert stored["nothing"] == []
    assert [one["size"] for one in stored["truncate"]] == [len(DATA) // 2]
    assert [(one["sha512"] == SUM, one["kept"] == SUM) for one in stored["corrupt"]] == [(False, True)]
    assert [(one["sha512"], one["kept"]) for one in stored["no-checksum"]] == [(SUM, None)]
    archive.faults({"match": "put /r", "op": "fail", "reason": "HPSS_ENOSPACE"})
    assert "HPSS_ENOSPACE" in hsi(archive, put, 1)
    archive.faults({"match": "PUT /hpss", "op": "lose-answer"})
    assert "HPSS is not available" in hsi(archive, put, 70)
    assert [one["path"] for one in archive.ask("GET", "/sim/files")] == ["/r/a"], "it was carried out"
    archive.faults()
    hsi(archive, "rm /r/a")


def test_the_tape_is_mounted_and_has_a_rate(home: Path, sim: Callable[..., Server], short_tmp: Path) -> None:
    sim(home, "archive", "--mount", "0.3", "--rate", "2")
    archive = Archive(home)
    (short_tmp / "a").write_bytes(bytes(1_000_000))
    hsi(archive, "mkdir -p /p")
    begun = time.monotonic()
    hsi(archive, f"put -c on -H sha512 {short_tmp}/a : /p/a")
    assert time.monotonic() - begun >= 0.3 + 0.5 * 0.7


def test_it_takes_its_token_only_stays_below_its_root_and_ends_clean(
    home: Path, sim: Callable[..., Server], run: Callable[..., Result]
) -> None:
    server = sim(home, "archive", "--mount", "0")
    again = run("dm-sim", "archive", "--port", "0", home=home).gave(75)
    assert "runs already" in again.err
    with pytest.raises(HTTPError, match="401"):
        urlopen(f"{server.url}/sim/files", timeout=20)
    assert server.stop() == 143
    assert not (home / "run/sim/archive.json").exists()
    assert "HPSS is not available" in hsi(Archive(home), "ls -l /p", 70)
    assert "would keep its files below" in run("dm-sim", "archive", "--dry-run", home=home).ok().out
