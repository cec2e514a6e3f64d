"""root:// both ways through a private XRootD server."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from dmtools.names import encode
from tests.real_components import XRootD
from tests.simulators.fts_client import Fts, adler
from tests.support import wait_until


@pytest.fixture
def server(xrootd_server: Callable[..., XRootD]) -> XRootD:
    return xrootd_server()


def test_there_and_back(fts: Fts, server: XRootD) -> None:
    source, back = fts.source(b"x" * 3_000_001), fts.target()
    there, between = server.url + "new/dir/f", server.url + "other/f"
    options: dict[str, Any] = {"verify_checksum": "both", "checksum": adler(source)}
    for one, other in ((source, there), (there, between), (between, back)):
        file = fts.copy(one, other, **options)
        assert (file["file_state"], file["reason"]) == ("FINISHED", "")
    assert (server.data / "new/dir/f").read_bytes() == source.read_bytes() == back.read_bytes()


def test_names_are_decoded_as_gfal2_does_it(fts: Fts, server: XRootD) -> None:
    source, name = fts.source(), b"a blank/100%/\xc3\xbcn\xc3\xaf/\xff"
    there = server.url + encode(name)
    options: dict[str, Any] = {"verify_checksum": "both", "checksum": adler(source)}
    for url, other in ((source, there), (there, server.url + "b%20c/d")):
        file = fts.copy(url, other, **options)
        assert (file["file_state"], file["reason"]) == ("FINISHED", "")
    assert (server.data / os.fsdecode(name)).read_bytes() == source.read_bytes() == (server.data / "b c/d").read_bytes()


def test_a_directory_that_is_there_is_no_trouble(fts: Fts, server: XRootD) -> None:
    for name in ("top/1", "top/2", "top/sub/1", "top/sub/2"):
        file = fts.copy(fts.source(), server.url + name)
        assert (file["file_state"], file["reason"]) == ("FINISHED", "")


def test_the_same_rules_hold(fts: Fts, server: XRootD) -> None:
    source, there = fts.source(), server.url + "f"
    assert fts.copy(source, there)["file_state"] == "FINISHED"
    assert fts.copy(source, there)["reason"] == "DESTINATION [17] Destination file exists and overwrite is not enabled"
    other = fts.source()
    assert fts.copy(other, there, overwrite=True, verify_checksum="target")["file_state"] == "FINISHED"
    assert (server.data / "f").read_bytes() == other.read_bytes()
    assert fts.copy(server.url + "none", fts.target(), retry=2)["reason"] == "SOURCE [2] No such file or directory"
    assert fts.copy(server.url, fts.target())["file_state"] == "FAILED"
    file = fts.copy(there, fts.target(), verify_checksum="source", checksum="adler32:00000001")
    assert file["reason"].startswith("SOURCE [5] Source and user-defined ADLER32 checksum do not match (")


def test_corruption_at_the_destination_is_found(fts: Fts, server: XRootD) -> None:
    there = server.url + "bad"
    fts.faults(f"[[fault]]\nmatch = '{there}'\nop = 'corrupt'\n")
    assert "checksum do not match" in fts.copy(fts.source(), there, verify_checksum="target")["reason"]
    assert not (server.data / "bad").exists()


def test_canceled_while_it_runs(fts: Fts, server: XRootD) -> None:
    there = server.url + "stalled"
    fts.faults(f"[[fault]]\nmatch = '{there}'\nop = 'stall'\n")
    job_id = fts.submit((fts.source(b"x" * 2_000_000), there))
    wait_until(lambda: fts.copies(job_id=job_id))
    fts.raw("DELETE", f"/jobs/{job_id}")
    wait_until(lambda: fts.copies(job_id=job_id)[0]["outcome"] == "CANCELED")
    wait_until(lambda: not (server.data / "stalled").exists())


def test_a_server_that_is_away_is_tried_again(fts: Fts, server: XRootD) -> None:
    source, there = fts.source(), server.url + "f"
    server.stop()
    file = fts.done(fts.submit((source, there), retry=1), 60)["files"][0]
    assert (file["file_state"], file["retry"]) == ("FAILED", 1)
    assert file["reason"] == "DESTINATION [111] Connection refused"
