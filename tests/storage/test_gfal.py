"""The gfal2 tools against a real server over http and root."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmtools.names import encode, file_url
from dmtools.settings import Settings
from dmtools.storage import Absent, Look, Present, Unknown, client_for, client_reason, gfal
from dmtools.storage.gfal import GfalStore
from tests.storage.test_local import adler, failing, make
from tests.storage.test_xrootd import CHECKSUMS, put
from tests.support import free_port

pytestmark = pytest.mark.needs("xrootd", "root", "gfal2")
NAMES = [b"plain", b"a blank", "ünïcode €".encode(), b"not\xff\xfeutf8", b"%41 100%", b"q'\"\\&", b"-rf"]


@pytest.fixture
def web(xrootd_server: Callable[..., Any]) -> Any:
    """A server that speaks http too; its URL there is `web.http`."""
    port = free_port()
    server = xrootd_server(f"xrd.protocol http:{port} libXrdHttp.so\n{CHECKSUMS}")
    server.http = f"http://127.0.0.1:{port}/"
    return server


@pytest.fixture(params=["http", "root"])
def place(request: pytest.FixtureRequest, web: Any, settings: Settings) -> tuple[GfalStore, Any, str]:
    """(the client, the server, its URL) for each of the two protocols."""
    return GfalStore(request.param, settings), web, web.http if request.param == "http" else web.url


def test_client_for_takes_what_is_installed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("http", "https", "dav", "davs"):
        assert isinstance(client_for(f"{scheme}://host/x", settings), GfalStore)
    monkeypatch.setattr(gfal, "has_plugin", lambda scheme: scheme != "srm")
    assert client_for("srm://host:8443/srm/managerv2?SFN=/x", settings) is None
    assert "gfal2-plugin-srm" in str(client_reason("srm://host:8443/x", settings))


def test_looks_of_all_kinds(place: tuple[GfalStore, Any, str]) -> None:
    store, server, base = place
    urls = [base + encode(name) for name in NAMES]
    wanted: list[Look] = [Present(len(name), adler(name)) for name in NAMES]
    for name in NAMES:
        put(server, name, name)
    put(server, b"locked")
    (server.data / "locked").chmod(0)
    (server.data / "dir").mkdir()
    *looks, absent, locked, directory = store.look_many([*urls, f"{base}none", f"{base}locked", f"{base}dir"], deadline=60)
    assert looks == wanted
    assert absent == Absent()
    assert [isinstance(look, Unknown) and look.wide for look in (locked, directory)] == [False, False], (locked, directory)
    assert store.look_many([f"{base}../x", "http://host", urls[0]], checksum=False, deadline=60)[2] == Present(5, None)


def test_a_server_that_is_away_or_silent_holds_nobody(web: Any, settings: Settings) -> None:
    store = GfalStore("http", settings)
    urls = [web.http + name for name in ("a", "b")]
    put(web, b"a")
    web.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    looks = store.look_many(urls, deadline=2)
    web.process.send_signal(signal.SIGCONT)
    assert time.monotonic() - began < 50
    web.stop(signal.SIGKILL)
    looks += store.look_many(urls, deadline=30)
    assert [isinstance(look, Unknown) and look.wide for look in looks] == [True] * 4, looks


@pytest.mark.parametrize("name", NAMES)
def test_every_name_goes_there_and_back(place: tuple[GfalStore, Any, str], tmp_path: Path, name: bytes) -> None:
    store, server, base = place
    data = os.urandom(100_000)
    there = f"{base}new/dir/{encode(name)}"
    back = file_url(os.path.join(os.fsencode(tmp_path), b"back", name))
    if store.scheme == "root" and b"\xff" in name:  # the tool falls over its progress line; such names go by xrdcp
        assert failing(lambda: store.copy(make(tmp_path, name, data), there)).cls == "invalid"
        return
    for source, target in ((make(tmp_path, name, data), there), (there, back)):
        copied = store.copy(source, target, expect=adler(data))
        assert (copied.size, copied.checksum) == (len(data), adler(data))
    assert Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"back", name))).read_bytes() == data
    assert list(tmp_path.rglob(".*")) == []
    mark = store.mark(there)
    store.delete(there, mark=mark)
    store.delete(there, mark=mark)
    assert store.mark(there) is None
    assert [path for path in server.data.rglob("*") if path.is_file()] == []


def test_what_is_refused_leaves_all_as_it_was(place: tuple[GfalStore, Any, str], tmp_path: Path) -> None:
    store, server, base = place
    put(server, b"theirs", b"theirs")
    shutil.chown(server.data / "theirs", server.data.stat().st_uid)
    here = make(tmp_path, b"mine", b"mine!")
    assert failing(lambda: store.copy(here, f"{base}theirs")).cls == "occupied"
    assert failing(lambda: store.copy(f"{base}theirs", here)).cls == "occupied"
    assert failing(lambda: store.copy(here, f"{base}new", expect="adler32:00000007")).cls == "checksum"
    assert failing(lambda: store.copy(f"{base}theirs", file_url(tmp_path / "x"), expect="adler32:00000007")).cls == "checksum"
    assert failing(lambda: store.copy(f"{base}none", file_url(tmp_path / "x"))).cls == "missing"
    mark = store.mark(f"{base}theirs")
    (server.data / "theirs").write_bytes(b"longer than before")
    assert failing(lambda: store.delete(f"{base}theirs", mark=mark)).cls == "changed"
    (server.data / "dir").mkdir()
    assert failing(lambda: store.delete(f"{base}dir")).cls == "invalid"
    assert sorted(path.name for path in server.data.iterdir()) == ["dir", "theirs"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]
    store.copy(here, f"{base}theirs", overwrite=True)
    assert (server.data / "theirs").read_bytes() == b"mine!"


def test_listing_and_residency(place: tuple[GfalStore, Any, str]) -> None:
    store, server, base = place
    names = [name for name in NAMES if b"\xff" not in name]
    for name in names:
        put(server, b"top/" + name)
        put(server, b"top/in ner/" + name)
    os.system(f"chown -R --reference {server.data} {server.data}/top")
    wanted = {f"{base}top/{inner}{encode(name)}" for name in names for inner in ("", "in%20ner/")}
    assert {entry.url for entry in store.list(f"{base}top")} == wanted
    assert {(entry.size, entry.kind) for entry in store.list(f"{base}top")} == {(5, "file")}
    assert failing(lambda: list(store.list(f"{base}none"))).cls == "missing"
    assert store.residency(f"{base}top/plain") == ("ONLINE" if store.scheme == "root" else "UNKNOWN")
    assert store.trouble(f"{base}top") is None
    assert store.trouble(f"{base}none") is not None
