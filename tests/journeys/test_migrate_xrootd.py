"""migrate from one real private XRootD server to another: root:// to root://, checked and proved by the servers' checksums."""

from __future__ import annotations

import os
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dmtools.names import encode
from tests.migrate.steps import Site
from tests.real_components import XRootD
from tests.support import Server

pytestmark = [pytest.mark.needs("xrootd", "root"), pytest.mark.usefixtures("impatient_resolver")]
# Requests are written to the server's log; more checksums at once than it would take by itself.
MORE = "xrootd.trace request\nxrootd.chksum max 8 chkcgi adler32 crc32c md5\n"
LFNS = [b"/plain", b"/a blank/of  two", "/ünïcode €/日本".encode(), b"/not\xff/utf8\xfe", b"/100%/%41", b"/q'\"&=;,+", b"/empty"]


@pytest.fixture
def impatient_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """xrdfs looks up this host's own name at each start; where the name server loses packets that would take 5 s each."""
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")


@dataclass
class Between(Site):
    """A Site whose files go from `castor//lhcb` to `echo//store`."""

    castor: XRootD = field(kw_only=True)
    echo: XRootD = field(kw_only=True)

    def at(self, place: XRootD, lfn: bytes) -> Path:
        """Where an LFN is in a server's own directory."""
        return Path(os.fsdecode(os.fsencode(place.data) + (b"/lhcb" if place is self.castor else b"/store") + lfn))

    def put(self, lfn: bytes, data: bytes) -> bytes:
        """A source file, without the client."""
        path = self.at(self.castor, lfn)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return lfn

    def begin(self, lfns: list[bytes], name: str = "all.txt") -> None:
        """These LFNs are in TODO."""
        (self.home / "migrate/TODO/ListOfLFNs" / name).write_bytes(b"".join(lfn + b"\n" for lfn in lfns))
        self.produce(lfns=50)

    def lfn(self, url: str) -> str:
        return url.removeprefix(f"{self.echo.url}store")

    def equal(self, lfn: bytes) -> bool:
        return self.at(self.castor, lfn).read_bytes() == self.at(self.echo, lfn).read_bytes()

    def checksum(self, lfn: bytes) -> str:
        """What the destination server itself says."""
        argv = ["xrdfs", self.echo.url[:-2], "query", "checksum", b"/store" + lfn]
        return subprocess.run(argv, capture_output=True, check=True, timeout=30).stdout.decode().strip()

    def queries(self) -> int:
        """How many checksums the destination server was asked for, by its own log."""
        return self.echo.log.read_text(errors="replace").count("req=query")


@pytest.fixture
def site(home: Path, serve: Callable[..., Server], xrootd_server: Callable[..., XRootD]) -> Between:
    made = Between(home, serve, castor=xrootd_server(MORE), echo=xrootd_server(MORE))
    (made.castor.data / "lhcb").mkdir()
    (made.echo.data / "store").mkdir()
    subprocess.run(["chown", "--reference", made.echo.data, made.echo.data / "store"], check=True)
    made.only()
    rule = f'{{ match = "/", source = "{made.castor.url}lhcb", destination = "{made.echo.url}store" }}'
    made.settings(f"[migrate]\nrules = [{rule}]\n")
    made.start()
    return made


def names(lfns: list[bytes]) -> list[str]:
    return sorted(encode(lfn) for lfn in lfns)


def test_from_server_to_server(site: Between) -> None:
    for number, lfn in enumerate(LFNS):
        site.put(lfn, b"" if lfn == b"/empty" else os.urandom(1000 + number))
    big = site.put(b"/big", os.urandom(30_000_000))
    site.begin([*LFNS, big, b"/gone"])
    found = site.run("migrate-consumer", "--lists", 0, "--json").gave(1)
    assert [one["subject"] for one in found.json["errors"]] == ["/gone"]
    assert site.lines("DONE/Missing") == ["/gone"]
    site.over()
    asked = site.queries()
    site.monitor()
    proved = site.states()["Okay"]
    assert site.queries() - asked >= proved > 0, "the proof is the server's own"
    site.settle()
    assert site.lines("DONE/Okay") == names([*LFNS, big])
    assert site.tally() == {"Okay": len(LFNS) + 1, "Missing": 1}
    assert set(site.sql("SELECT verified_by FROM transfer WHERE state = 'Okay'")) == {("storage",)}
    for lfn in [*LFNS, big]:
        assert site.equal(lfn), lfn
        recorded = site.sql("SELECT size, checksum FROM transfer WHERE name = ?", encode(lfn))
        data = site.at(site.castor, lfn).read_bytes()
        assert recorded == [(len(data), f"adler32:{zlib.adler32(data):08x}")]
    assert site.checksum(big) == f"adler32 {zlib.adler32(site.at(site.castor, big).read_bytes()):08x}"
    assert sorted(map(site.lfn, site.copies())) == names([*LFNS, big])


def test_a_copy_that_was_damaged_is_found_and_made_again(site: Between) -> None:
    """One copy is damaged under way, which FTS sees; another behind it, at rest, which only the proof sees."""
    lfns = [site.put(b"/under way", os.urandom(5000)), site.put(b"/at rest", os.urandom(5000)), site.put(b"/good", b"x")]
    site.faults('[[fault]]\nmatch = "*/under%20way"\nop = "corrupt"\ntimes = 1\n')
    site.begin(lfns)
    site.consume()
    site.over()
    rotten = site.at(site.echo, b"/at rest")
    rotten.write_bytes(bytes(5000))
    later = rotten.stat().st_mtime + 60  # the server keeps a checksum by the file's time in whole seconds
    os.utime(rotten, (later, later))
    site.monitor()
    assert site.lines("DONE/Okay") == ["/good"]
    assert site.state("/at%20rest") == ("TODO", "checksum", 1, 1)
    assert site.state("/under%20way") == ("TODO", "checksum", 1, 1)
    site.due()
    site.settle()
    assert site.lines("DONE/Okay") == names(lfns)
    assert all(site.equal(lfn) for lfn in lfns)


def test_the_destination_is_away_in_the_middle(site: Between) -> None:
    """What is copied but not proved waits as it is; what can't be copied now is tried again; nobody is called Bad."""
    first, second = site.put(b"/first", b"1" * 4000), site.put(b"/second", b"2" * 4000)
    site.begin([first])
    site.consume()
    site.over()
    site.echo.stop()
    found = site.run("migrate-monitor", "--json").ok()
    assert "Okay" not in str(found.json["counts"])
    (told,) = found.json["errors"]
    assert (told["what"], "/first" in told["subject"]) == ("copy not proved yet", True)
    assert "neither done nor failed" in told["left"]
    assert site.state("/first") == ("DOING", None, 0, 1)
    site.begin([second], "more.txt")
    site.consume()
    site.over()
    site.monitor()
    assert site.state("/first") == ("DOING", None, 0, 1)
    assert site.state("/second")[0] == "TODO"
    site.echo.start()
    site.due()
    site.settle()
    assert site.lines("DONE/Okay") == ["/first", "/second"]
    assert site.equal(first)
    assert site.equal(second)
    assert sorted(map(site.lfn, site.copies())) == ["/first", "/second"]


def test_the_source_is_away_before_the_submission(site: Between) -> None:
    """Nothing is Missing because its server is: the list waits in TODO."""
    lfn = site.put(b"/there", b"data")
    site.begin([lfn])
    site.castor.stop()
    found = site.run("migrate-consumer", "--json").ok()
    (told,) = found.json["errors"]
    assert told["what"] == "source storage in trouble"
    assert "no attempt is counted" in told["left"]
    assert (site.lines("TODO"), site.lines("DONE/Missing")) == (["/there"], [])
    assert site.ask("/sim/submissions") == []
    site.castor.start()
    site.due()
    site.settle()
    assert site.lines("DONE/Okay") == ["/there"]
