"""A site storage that only gfal2 knows here: copied over http to a real server, proved by what that server says."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.daq.disk_steps import Disks, data, told
from tests.real_components import XRootD
from tests.support import free_port

pytestmark = pytest.mark.needs("xrootd", "root", "gfal2")


PLAIN = "xrootd.chksum max 8 chkcgi adler32"


@pytest.fixture
def disks(home: Path) -> Disks:
    """A HOME whose disks are empty."""
    return Disks(home)


def by_http(disks: Disks, xrootd_server: Callable[..., XRootD], checksums: str) -> Any:
    """The site is a server that is asked over http."""
    port = free_port()
    server = xrootd_server(f"xrd.protocol http:{port} libXrdHttp.so\n{checksums}\n")
    disks.settings(site=f"http://127.0.0.1:{port}/site", max_attempts=2, safety="site-verified")
    server.http = port
    disks.flag()
    return server


def test_files_go_to_a_gfal2_site_and_leave_their_disk_when_it_says_their_checksum(
    disks: Disks, xrootd_server: Callable[..., XRootD]
) -> None:
    bodies = {data(name): disks.file(data(name)).read_bytes() for name in ("a", "b c", "d'e ö%41")}
    server = by_http(disks, xrootd_server, PLAIN)
    done = disks.transfer()
    assert done.json["counts"] == {">Found": 3, "Found>Copied": 3, "Copied>AtSite": 3, "AtSite>removed": 3, "Emptying>Free": 1}
    there = server.data / "site/2407/240716"
    assert {path: (there / path).read_bytes() for path in bodies} == bodies
    assert sorted(path.relative_to(there) for path in there.rglob("*") if path.is_file()) == sorted(map(Path, bodies))
    assert disks.flags() == ["ReadyForData"]


def test_1_a_gfal2_site_that_tells_another_checksum_is_no_proof(
    disks: Disks, xrootd_server: Callable[..., XRootD], short_tmp: Path
) -> None:
    source = disks.file(data("a"))
    liar = short_tmp / "liar"
    liar.write_text("#!/bin/sh\necho 00c0ffee\n")
    liar.chmod(0o755)
    server = by_http(disks, xrootd_server, f"xrootd.chksum max 8 adler32 {liar}")
    assert "00c0ffee" in told(disks.transfer(code=1))
    disks.later()
    disks.transfer(code=1)
    assert disks.sql("SELECT state, error_class FROM daq_file") == [("Bad", "checksum")]
    assert source.exists()
    assert not list((server.data / "site").rglob("*.d*")), "what was not proved is taken away"


def test_a_copy_at_a_gfal2_site_is_proved_by_what_the_site_says_of_it_now(
    disks: Disks, xrootd_server: Callable[..., XRootD]
) -> None:
    """As after a kill between the copy and its proof; in between the copy got other bytes."""
    good, bad = (disks.file(data(name)) for name in "gb")
    server = by_http(disks, xrootd_server, PLAIN)
    disks.settings(site=f"http://127.0.0.1:{server.http}/site")
    disks.transfer()
    (server.data / "site/2407/240716" / data("b")).write_bytes(os.urandom(300))
    with closing(sqlite3.connect(disks.home / "dmtools.db")) as connection, connection:
        connection.execute("UPDATE daq_file SET state = 'Copied'")
    assert "the storage says 300 bytes and adler32:" in told(disks.transfer(code=1))
    assert disks.sql("SELECT path, state FROM daq_file ORDER BY path") == [(data("b"), "Bad"), (data("g"), "AtSite")]
    assert good.exists()
    assert bad.exists()


def test_a_gfal2_site_that_is_away_counts_no_attempt(disks: Disks, xrootd_server: Callable[..., XRootD]) -> None:
    source = disks.file(data("a"))
    server = by_http(disks, xrootd_server, PLAIN)
    server.stop()
    assert "site storage in trouble" in told(disks.transfer())
    assert disks.sql("SELECT state, failures FROM daq_file") == [("Found", 0)]
    server.start()
    body = source.read_bytes()
    disks.transfer()
    assert (server.data / "site/2407/240716" / data("a")).read_bytes() == body
    assert disks.flags() == ["ReadyForData"]
