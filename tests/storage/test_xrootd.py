"""A real private XRootD server as a storage, and what is told when it is in trouble."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmtools.names import encode, file_url
from dmtools.settings import Settings
from dmtools.storage import Absent, Look, Present, StorageError, Unknown, bulk, client_for, xrootd_copy
from dmtools.storage.xrootd import XRootDStore
from tests.storage.test_local import adler, failing, make
from tests.support import wait_until

pytestmark = pytest.mark.needs("xrootd", "root")
CHECKSUMS = "xrootd.chksum max 8 chkcgi adler32 crc32c md5\n"  # above its limit a server lets clients wait for half a minute
NAMES = [b"plain", b"a blank", "ünïcode €".encode(), b"new\nline", b"not\xff\xfeutf8", b"%41 100%", b"q'\"\\#;&", b"-rf", b"x:y"]


@pytest.fixture
def store(settings: Settings) -> XRootDStore:
    found = client_for("root://host//x", settings)
    assert isinstance(found, XRootDStore)
    return found


def put(server: Any, name: bytes, data: bytes = b"hello") -> str:
    """A file on the server, put there without the client; its URL."""
    path = os.path.join(os.fsencode(server.data), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(os.fsdecode(path)).write_bytes(data)
    os.chmod(path, 0o644)
    return str(server.url) + encode(name)


def gist(look: Look) -> object:
    return look.wide if isinstance(look, Unknown) else look


def both_ways(store: XRootDStore, urls: list[str], monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[Look]:
    """The same answers by the helper process and by xrdfs alone."""
    looks = store.look_many(urls, **options)
    with monkeypatch.context() as without:
        without.setattr(bulk, "python", lambda: None)
        assert [*map(gist, store.look_many(urls, **options))] == [*map(gist, looks)]
    return looks


def test_looks_of_all_kinds(xrootd_server: Callable[..., Any], store: XRootDStore, monkeypatch: pytest.MonkeyPatch) -> None:
    server = xrootd_server(CHECKSUMS)
    urls = [put(server, name, name * 3) for name in NAMES] + [put(server, b"empty", b"")]
    wanted: list[Look] = [Present(len(name) * 3, adler(name * 3)) for name in NAMES] + [Present(0, "adler32:00000001")]
    urls += [f"{server.url}none", f"{server.url}plain/below"]
    wanted += [Absent(), Absent()]
    assert both_ways(store, urls, monkeypatch, deadline=60) == wanted
    plain = both_ways(store, urls, monkeypatch, deadline=60, checksum=False)
    assert plain == [Present(look.size, None) if isinstance(look, Present) else look for look in wanted]


def test_what_is_unknown_for_one_file_only(
    xrootd_server: Callable[..., Any], store: XRootDStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = xrootd_server(CHECKSUMS)
    locked, good = put(server, b"locked"), put(server, b"good")
    (server.data / "locked").chmod(0)
    (server.data / "dir").mkdir()
    urls = [locked, f"{server.url}dir", f"{server.url}a%3Fb", f"{server.url}../x", good]
    *odd, last = both_ways(store, urls, monkeypatch, deadline=60)
    assert [isinstance(look, Unknown) and look.wide for look in odd] == [False] * 4, odd
    assert "permission denied" in str(odd[0])
    assert last == Present(5, adler(b"hello"))


def test_a_server_that_is_away_is_wide_trouble_and_no_absence(
    xrootd_server: Callable[..., Any], store: XRootDStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, other = xrootd_server(CHECKSUMS), xrootd_server(CHECKSUMS)
    urls = [put(server, b"%d" % number) for number in range(6)] + [put(other, b"here")]
    server.stop(signal.SIGKILL)
    *away, here = both_ways(store, urls, monkeypatch, deadline=60)
    assert [isinstance(look, Unknown) and look.wide for look in away] == [True] * 6, away
    assert here == Present(5, adler(b"hello"))
    assert failing(lambda: store.delete(urls[0])).cls == "unreachable"
    assert failing(lambda: store.copy(urls[0], "file:///tmp/never")).wide
    assert store.residency(urls[0]) == "UNKNOWN"
    assert store.free(urls[0]) is None
    assert "Connection error" in str(store.trouble(urls[0]))


def test_a_server_that_does_not_answer_holds_nobody(
    xrootd_server: Callable[..., Any], store: XRootDStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = xrootd_server(CHECKSUMS)
    urls = [put(server, b"%d" % number) for number in range(6)]
    server.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        for python in (bulk.python, lambda: None):
            monkeypatch.setattr(bulk, "python", python)
            looks = store.look_many(urls, deadline=2)
            assert [isinstance(look, Unknown) and look.wide for look in looks] == [True] * 6, looks
        assert time.monotonic() - began < 50
    finally:
        server.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_goes_there_between_and_back(
    xrootd_server: Callable[..., Any], store: XRootDStore, tmp_path: Path, name: bytes
) -> None:
    one, two = xrootd_server(CHECKSUMS), xrootd_server(CHECKSUMS)
    data = os.urandom(300_000)
    source = make(tmp_path, name, data)
    first, second = f"{one.url}new/dir/{encode(name)}", f"{two.url}deep/{encode(name)}"
    back = file_url(os.path.join(os.fsencode(tmp_path), b"back", name))
    for origin, target in ((source, first), (first, second), (second, back)):
        copied = store.copy(origin, target, expect=adler(data))
        assert (copied.size, copied.checksum) == (len(data), adler(data))
    assert Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"back", name))).read_bytes() == data
    assert [path for place in (one.data, two.data, tmp_path) for path in place.rglob(".*")] == []
    mark = store.mark(first)
    assert mark is not None
    store.delete(first, mark=mark)
    store.delete(first, mark=mark)
    assert store.look_many([first], deadline=60) == [Absent()]


def test_nothing_is_overwritten_unless_told_so(xrootd_server: Callable[..., Any], store: XRootDStore, tmp_path: Path) -> None:
    server = xrootd_server(CHECKSUMS)
    theirs, mine = put(server, b"t", b"theirs"), make(tmp_path, b"m", b"mine!")
    os.chown(server.data / "t", (server.data).stat().st_uid, -1)
    assert failing(lambda: store.copy(mine, theirs)).cls == "occupied"
    assert failing(lambda: store.copy(theirs, mine)).cls == "occupied"
    assert (server.data / "t").read_bytes() == b"theirs"
    assert (tmp_path / "m").read_bytes() == b"mine!"
    store.copy(mine, theirs, overwrite=True)
    assert (server.data / "t").read_bytes() == b"mine!"


def test_a_wrong_checksum_leaves_nothing_at_either_end(
    xrootd_server: Callable[..., Any], store: XRootDStore, tmp_path: Path
) -> None:
    server = xrootd_server(CHECKSUMS)
    there, here = put(server, b"t"), make(tmp_path, b"m")
    for source, target in ((here, f"{server.url}new"), (there, file_url(tmp_path / "new")), (there, f"{server.url}two")):
        problem = failing(lambda source=source, target=target: store.copy(source, target, expect="adler32:00000007"))
        assert problem.cls == "checksum", problem
        assert not problem.wide
    assert sorted(path.name for path in server.data.iterdir()) == ["t"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_a_copy_that_was_damaged_on_the_server_is_seen(
    xrootd_server: Callable[..., Any], store: XRootDStore, tmp_path: Path
) -> None:
    server = xrootd_server(CHECKSUMS)
    target = f"{server.url}x"
    copied = store.copy(make(tmp_path, b"m", b"A" * 1000), target)
    (server.data / "x").write_bytes(b"A" * 999 + b"B")
    (look,) = store.look_many([target], deadline=60)
    assert isinstance(look, Present)
    assert look.checksum != copied.checksum


def test_missing_and_forbidden_sources_and_targets(xrootd_server: Callable[..., Any], store: XRootDStore, tmp_path: Path) -> None:
    server = xrootd_server(CHECKSUMS)
    here = make(tmp_path, b"m")
    (server.data / "ro").mkdir()  # root's own: the server's user may not write there
    assert failing(lambda: store.copy(f"{server.url}none", file_url(tmp_path / "x"))).cls == "missing"
    assert failing(lambda: store.copy(f"{server.url}none", f"{server.url}x")).cls == "missing"
    assert failing(lambda: store.copy(file_url(tmp_path / "none"), f"{server.url}x")).cls == "missing"
    problem = failing(lambda: store.copy(here, f"{server.url}ro/x"))
    assert (problem.cls, problem.wide) == ("permission", False), problem
    assert "ro/x" in problem.reason
    assert failing(lambda: store.residency(f"{server.url}none")).cls == "missing"
    url = put(server, b"on")
    assert store.residency(url) == "ONLINE"
    for said, meant in (("NEARLINE", "NEARLINE"), ("ONLINE", "ONLINE"), ("nonsense", "UNKNOWN")):
        os.setxattr(server.data / "on", "user.U.user.status", said.encode())  # as the server keeps what its clients set
        assert store.residency(url) == meant


def test_a_full_server_is_told_and_left_clean(
    xrootd_server: Callable[..., Any], store: XRootDStore, small_disk: Path, tmp_path: Path
) -> None:
    server = xrootd_server(CHECKSUMS)
    small_disk.chmod(0o777)
    (server.data / "small").symlink_to(small_disk)
    problem = failing(lambda: store.copy(make(tmp_path, b"m", os.urandom(6 << 20)), f"{server.url}small/x"))
    assert problem.cls == "full", problem
    assert problem.wide
    assert list(small_disk.rglob("*x*")) == []


def test_a_server_killed_in_the_middle_of_a_copy(xrootd_server: Callable[..., Any], store: XRootDStore, tmp_path: Path) -> None:
    server = xrootd_server(CHECKSUMS)
    with (tmp_path / "big").open("wb") as file:
        file.truncate(20 << 30)
    problems: list[StorageError] = []
    worker = threading.Thread(
        target=lambda: problems.append(failing(lambda: store.copy(file_url(tmp_path / "big"), f"{server.url}x")))
    )
    worker.start()
    wait_until(lambda: any(path.stat().st_size > 1 << 20 for path in server.data.iterdir()), 60)
    server.stop(signal.SIGKILL)
    worker.join(60)
    assert problems, "the copy did not end"
    assert problems[0].wide, problems[0]
    assert not (server.data / "x").exists()
    server.start()
    store.copy(make(tmp_path, b"m"), f"{server.url}x")
    assert (server.data / "x").read_bytes() == b"hello"


def test_a_copy_that_makes_no_end_is_ended(
    xrootd_server: Callable[..., Any], store: XRootDStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = xrootd_server(CHECKSUMS)
    url = put(server, b"x", b"x" * 1000)
    monkeypatch.setattr(xrootd_copy, "_seconds", lambda size: 1.0)
    real = store.look_many

    def then_stop(*args: Any, **options: Any) -> Any:
        looks = real(*args, **options)
        server.process.send_signal(signal.SIGSTOP)
        return looks

    monkeypatch.setattr(store, "look_many", then_stop)
    try:
        problem = failing(lambda: store.copy(url, file_url(tmp_path / "x")))
        assert (problem.cls, problem.wide) == ("timeout", True)
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert list(tmp_path.iterdir()) == []


def test_a_delete_with_a_mark_takes_only_the_proved_file(xrootd_server: Callable[..., Any], store: XRootDStore) -> None:
    server = xrootd_server(CHECKSUMS)
    url = put(server, b"x")
    mark = store.mark(url)
    put(server, b"x", b"longer than before")
    assert failing(lambda: store.delete(url, mark=mark)).cls == "changed"
    assert (server.data / "x").exists()
    (server.data / "d").mkdir()
    assert failing(lambda: store.delete(f"{server.url}d")).cls == "invalid"
    assert store.mark(f"{server.url}none") is None


def test_a_listing_walks_the_tree(xrootd_server: Callable[..., Any], store: XRootDStore) -> None:
    server = xrootd_server(CHECKSUMS)
    names = [name for name in NAMES if b"\n" not in name]
    wanted = {put(server, b"top/" + part + name): 5 for part in (b"", b"a b/", b"a b/\xff/") for name in names}
    os.system(f"chown -R --reference {server.data} {server.data}/top")
    found = list(store.list(f"{server.url}top"))
    assert {entry.url: entry.size for entry in found} == wanted
    assert {entry.kind for entry in found} == {"file"}
    assert abs(found[0].mtime - time.time()) < 600
    assert failing(lambda: list(store.list(f"{server.url}none"))).cls == "missing"
    put(server, b"top/new\nline")
    assert failing(lambda: list(store.list(f"{server.url}top"))).cls in ("io", "permission")


def test_space_is_told(xrootd_server: Callable[..., Any], store: XRootDStore) -> None:
    server = xrootd_server(CHECKSUMS)
    found = store.free(server.url)
    assert found is not None
    whole = os.statvfs(server.data)
    assert found[1] == pytest.approx(whole.f_blocks * whole.f_frsize, rel=0.01)
    assert store.trouble(server.url) is None
    assert "no directory" in str(store.trouble(put(server, b"x")))
    assert "not there" in str(store.trouble(f"{server.url}none"))
