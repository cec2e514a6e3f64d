"""Directories as a storage: what is told about a file, copies, deletes, listings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmtools.names import file_url
from dmtools.storage import Absent, Present, StorageError, Unknown, client_for, client_reason, local, publish
from dmtools.storage.local import LocalStore
from tests.support import ROOT, wait_until

NAMES = [
    b"plain",
    b"a blank",
    "ünïcode €".encode(),
    b"new\nline",
    b"not\xff\xfeutf8",
    b"%41 100%",
    b"q'\"\\?#;&",
    b"-rf",
    b"n" * 255,
]
STORE = LocalStore()


def adler(data: bytes) -> str:
    return f"adler32:{zlib.adler32(data):08x}"


def make(directory: Path, name: bytes, data: bytes = b"hello") -> str:
    path = os.path.join(os.fsencode(directory), name)
    Path(os.fsdecode(path)).write_bytes(data)
    return file_url(path)


def hidden_in(directory: Path) -> list[str]:
    return [path.name for path in directory.rglob(".*")]


def failing(call: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        call()
    return caught.value


# ---- looks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_looked_at_copied_and_deleted(tmp_path: Path, name: bytes) -> None:
    source = make(tmp_path, name)
    target = file_url(os.path.join(os.fsencode(tmp_path), b"to", name))
    assert STORE.copy(source, target).checksum == adler(b"hello")
    assert STORE.look_many([source, target], deadline=10) == [Present(5, adler(b"hello"))] * 2
    STORE.delete(source)
    assert STORE.look_many([source, target], checksum=False, deadline=10) == [Absent(), Present(5, None)]
    assert hidden_in(tmp_path) == []


def test_an_empty_file_and_a_large_one(tmp_path: Path) -> None:
    data = os.urandom(9_000_001)
    urls = [make(tmp_path, b"empty", b""), make(tmp_path, b"large", data)]
    wanted = [Present(0, "adler32:00000001"), Present(len(data), adler(data))]
    assert STORE.look_many(urls, deadline=10) == wanted
    copied = [STORE.copy(url, url + ".copy") for url in urls]
    assert [(one.size, one.checksum) for one in copied] == [(one.size, one.checksum) for one in wanted]
    assert (tmp_path / "large.copy").read_bytes() == data


def test_what_is_proved_absent_and_what_is_not_known(tmp_path: Path) -> None:
    make(tmp_path, b"file")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "broken").symlink_to("nowhere")
    base = file_url(tmp_path)
    looks = STORE.look_many([f"{base}/{name}" for name in ("none", "file/below", "broken")], deadline=10)
    assert looks == [Absent()] * 3
    odd = [base, f"{base}/fifo", f"{base}/loop", f"{base}/{'x' * 300}", f"{base}/../up", "file://elsewhere/x", f"{base}/a%00b"]
    for url, look in zip(odd, STORE.look_many(odd, deadline=10), strict=True):
        assert isinstance(look, Unknown), url
        assert not look.wide, url


@pytest.mark.needs("root")
def test_a_file_that_may_not_be_read_is_unknown_for_itself_only(short_tmp: Path) -> None:
    make(short_tmp, b"secret")
    (short_tmp / "secret").chmod(0)
    make(short_tmp, b"open")
    program = (
        "import os, sys; os.setgid(65534); os.setuid(65534)\n"
        "from dmtools.storage.local import LocalStore\n"
        f"print(LocalStore().look_many(['{file_url(short_tmp)}/secret', '{file_url(short_tmp)}/open'], deadline=9))"
    )
    # -P: not the root directory on the path; the checkout may not be readable for others, so the modules come first
    preload = "import dmtools.storage.local, dmtools.storage.publish\n"
    done = subprocess.run([sys.executable, "-c", preload + program], cwd=ROOT, capture_output=True, text=True)
    assert "Unknown(reason=" in done.stdout, done.stderr
    assert "Permission denied', wide=False" in done.stdout
    assert "Present(size=5" in done.stdout


def test_a_file_that_changes_while_it_is_read_is_not_told_as_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make(tmp_path, b"grows", b"x" * 1_000_000)
    real = local.sums.adler32

    def grow(*args: Any) -> int:
        with (tmp_path / "grows").open("ab") as file:
            file.write(b"y")
        return real(*args)

    monkeypatch.setattr(local.sums, "adler32", grow)
    assert STORE.look_many([url], deadline=10) == [Unknown(f"{url} changed while it was read", wide=False)]
    assert failing(lambda: STORE.copy(url, url + ".2")).cls == "changed"


@pytest.mark.needs("root")
def test_a_hung_mount_holds_nobody(hung_mount: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "STALL_SECONDS", 0.8)
    monkeypatch.setattr(local, "COPY_STALL_SECONDS", 0.8)
    good, hung = make(tmp_path, b"good"), file_url(hung_mount / "x")
    began = time.monotonic()
    looks = STORE.look_many([good, hung, good], deadline=30)
    assert looks[0] == Present(5, adler(b"hello"))
    assert [isinstance(look, Unknown) and look.wide for look in looks[1:]] == [True, True]
    assert [failing(lambda act=act: act(hung)).cls for act in (STORE.mark, STORE.delete)] == ["timeout"] * 2
    assert failing(lambda: STORE.copy(good, hung)).cls == failing(lambda: STORE.copy(hung, good + ".2")).cls == "timeout"
    assert failing(lambda: list(STORE.list(file_url(hung_mount)))).cls == "timeout"
    assert STORE.free(hung) is None
    assert "does not answer" in str(STORE.trouble(file_url(hung_mount)))
    assert STORE.residency(hung) == "UNKNOWN"
    assert time.monotonic() - began < 60


@pytest.mark.needs("root")
def test_a_process_with_a_call_on_a_hung_mount_still_ends(hung_mount: Path) -> None:
    program = (
        f"from dmtools.storage.local import LocalStore as L; print(L().look_many(['{file_url(hung_mount / 'x')}'], deadline=0.3))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "wide=True" in done.stdout


def test_the_deadline_of_a_look_is_kept(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 42)  # sparse: reading it would take minutes
    began = time.monotonic()
    (look,) = STORE.look_many([file_url(tmp_path / "huge")], deadline=0.3)
    assert isinstance(look, Unknown)
    assert look.wide
    assert time.monotonic() - began < 30


# ---- copies ------------------------------------------------------------------------------------------------------------


def test_a_copy_never_lands_on_something_unless_told_so(tmp_path: Path) -> None:
    source, target = make(tmp_path, b"a", b"new"), make(tmp_path, b"b", b"old")
    problem = failing(lambda: STORE.copy(source, target))
    assert (problem.cls, problem.wide) == ("occupied", False)
    assert (tmp_path / "b").read_bytes() == b"old"
    STORE.copy(source, target, overwrite=True)
    assert (tmp_path / "b").read_bytes() == b"new"
    (tmp_path / "d").mkdir()
    assert failing(lambda: STORE.copy(source, file_url(tmp_path / "d"), overwrite=True)).cls == "invalid"


def test_what_comes_between_check_and_rename_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(tmp_path, b"a", b"new")
    real = os.fsync

    def other_first(handle: int) -> None:
        real(handle)
        (tmp_path / "b").write_bytes(b"theirs")

    monkeypatch.setattr(publish.os, "fsync", other_first)
    assert failing(lambda: STORE.copy(source, file_url(tmp_path / "b"))).cls == "occupied"
    monkeypatch.undo()
    assert (tmp_path / "b").read_bytes() == b"theirs"
    assert hidden_in(tmp_path) == []


def test_a_file_system_without_rename_noreplace_is_served_by_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(publish.durable, "rename_new", refuse)
    source = make(tmp_path, b"a", b"new")
    STORE.copy(source, file_url(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == b"new"
    assert failing(lambda: STORE.copy(source, file_url(tmp_path / "b"))).cls == "occupied"
    assert hidden_in(tmp_path) == []


def test_an_unexpected_checksum_leaves_nothing(tmp_path: Path) -> None:
    source = make(tmp_path, b"a")
    problem = failing(lambda: STORE.copy(source, file_url(tmp_path / "new/b"), expect="adler32:00000001"))
    assert problem.cls == "checksum"
    assert "adler32:00000001" in problem.reason
    assert list((tmp_path / "new").iterdir()) == []
    assert STORE.copy(source, file_url(tmp_path / "new/b"), expect="ADLER32:62C0215").checksum == adler(b"hello")
    assert failing(lambda: STORE.copy(source, file_url(tmp_path / "c"), expect="md5:1234")).cls == "unsupported"


def test_a_source_that_changes_while_it_is_read_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(tmp_path, b"a", b"x" * 1000)
    real = publish.sums.adler32

    def change(*args: Any) -> int:
        (tmp_path / "a").write_bytes(b"y" * 1000)
        os.utime(tmp_path / "a", ns=(1, 1))
        return real(*args)

    monkeypatch.setattr(publish.sums, "adler32", change)
    assert failing(lambda: STORE.copy(source, file_url(tmp_path / "b"))).cls == "changed"
    monkeypatch.setattr(publish.sums, "adler32", lambda *args: (os.replace(tmp_path / "z", tmp_path / "a"), real(*args))[1])
    make(tmp_path, b"z", b"x" * 1000)
    assert failing(lambda: STORE.copy(source, file_url(tmp_path / "b"))).cls == "changed"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_sources_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    target = file_url(tmp_path / "b")
    assert failing(lambda: STORE.copy(file_url(tmp_path / "fifo"), target)).cls == "invalid"
    assert failing(lambda: STORE.copy(file_url(tmp_path), target)).cls == "invalid"
    assert failing(lambda: STORE.copy(file_url(tmp_path / "none"), target)).cls == "missing"
    assert failing(lambda: STORE.copy("https://host/x", target)).cls == "invalid"


@pytest.mark.needs("root")
def test_a_full_disk_is_told_and_left_clean(small_disk: Path, tmp_path: Path) -> None:
    source = make(tmp_path, b"a", bytes(6 << 20))
    problem = failing(lambda: STORE.copy(source, file_url(small_disk / "d/b")))
    assert (problem.cls, problem.wide) == ("full", True)
    assert f"{small_disk}/d/b" in problem.reason
    assert "No space left" in problem.reason
    assert list((small_disk / "d").iterdir()) == []
    assert STORE.free(file_url(small_disk / "not/yet")) == (4 << 20, 4 << 20)
    assert STORE.copy(make(tmp_path, b"small"), file_url(small_disk / "d/b")).size == 5


@pytest.mark.needs("root", "strace")
@pytest.mark.parametrize(("call", "number", "cls"), [("fsync", "EIO", "io"), ("renameat2", "EROFS", "unreachable")])
def test_a_failed_call_discards_the_hidden_file(tmp_path: Path, call: str, number: str, cls: str) -> None:
    source = make(tmp_path, b"a", b"x" * 100_000)
    (tmp_path / "to").mkdir()
    program = (
        "import sys\nfrom dmtools.storage.local import LocalStore\nfrom dmtools.storage import StorageError\n"
        "try: LocalStore().copy(*sys.argv[1:])\nexcept StorageError as e: sys.exit(f'{e.cls}: {e.reason}')"
    )
    inject = ["strace", "-f", "-o", "/dev/null", "-e", f"inject={call}:error={number}"]
    argv = [*inject, sys.executable, "-c", program, source, file_url(tmp_path / "to/b")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.startswith(f"{cls}: "), done.stderr
    assert "to/b" in done.stderr
    assert list((tmp_path / "to").iterdir()) == []


def test_a_killed_copy_leaves_only_its_hidden_name_and_the_next_goes_on(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    with (tmp_path / "big").open("wb") as file:
        file.truncate(1 << 40)
    program = "import sys; from dmtools.storage.local import LocalStore as L; L().copy(*sys.argv[1:])"
    target = file_url(tmp_path / "to/b")
    child = subprocess.Popen([sys.executable, "-c", program, file_url(tmp_path / "big"), target], cwd=ROOT)
    wait_until(lambda: any(path.stat().st_size for path in (tmp_path / "to").iterdir()), 60)
    (left,) = (tmp_path / "to").iterdir()
    assert left.name.startswith(".b.")
    assert left.stat().st_mode & 0o777 == 0o600
    publish._swept.clear()
    STORE.copy(make(tmp_path, b"x"), file_url(tmp_path / "to/other"))
    assert left.exists(), "a living copy's file was swept away"
    child.send_signal(signal.SIGKILL)
    child.wait(60)
    publish._swept.clear()
    STORE.copy(make(tmp_path, b"a"), target)
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["b", "other"]


def test_the_mode_follows_the_source_and_the_fence_is_in_the_hidden_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(tmp_path, b"a")
    (tmp_path / "a").chmod(0o4640)
    seen: list[str] = []
    real = os.fsync
    monkeypatch.setattr(publish.os, "fsync", lambda handle: (seen.extend(hidden_in(tmp_path)), real(handle))[1])
    STORE.copy(source, file_url(tmp_path / "b"), fence=77)
    assert ".b.77.dmtmp" in seen
    assert (tmp_path / "b").stat().st_mode & 0o7777 == 0o640


# ---- deletes -----------------------------------------------------------------------------------------------------------


def test_a_delete_with_a_mark_takes_only_the_proved_file(tmp_path: Path) -> None:
    url = make(tmp_path, b"a")
    mark = STORE.mark(url)
    assert mark is not None
    (tmp_path / "a").write_bytes(b"HELLO")
    os.utime(tmp_path / "a", ns=(5, 5))
    assert failing(lambda: STORE.delete(url, mark=mark)).cls == "changed"
    assert (tmp_path / "a").read_bytes() == b"HELLO"
    STORE.delete(url, mark=STORE.mark(url))
    STORE.delete(url, mark=mark)  # absent already is done
    assert STORE.mark(url) is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changes_in_the_last_moment_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make(tmp_path, b"a")
    real = local.rename_new

    def write_first(source: bytes, target: bytes) -> None:
        monkeypatch.setattr(local, "rename_new", real)
        with (tmp_path / "a").open("ab") as file:
            file.write(b"more")
        real(source, target)

    monkeypatch.setattr(local, "rename_new", write_first)
    assert failing(lambda: STORE.delete(url, mark=STORE.mark(url))).cls == "changed"
    assert (tmp_path / "a").read_bytes() == b"hellomore"
    assert hidden_in(tmp_path) == []


@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", ["renameat2", "unlink", "fsync"])
def test_a_killed_delete_is_finished_by_its_repeat(tmp_path: Path, call: str) -> None:
    url = make(tmp_path, b"a")
    program = "import sys; from dmtools.storage.local import LocalStore as L; L().delete(sys.argv[1])"
    argv = ["strace", "-f", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when=1", sys.executable, "-c", program, url]
    assert subprocess.run(argv, cwd=ROOT).returncode == -signal.SIGKILL
    STORE.delete(url)
    assert list(tmp_path.iterdir()) == []


def test_directories_are_never_deleted(tmp_path: Path) -> None:
    assert failing(lambda: STORE.delete(file_url(tmp_path))).cls == "invalid"
    assert tmp_path.is_dir()


# ---- listings and the rest ---------------------------------------------------------------------------------------------


def test_a_listing_finds_every_file_and_says_what_it_is(tmp_path: Path) -> None:
    wanted = {make(tmp_path, name): "file" for name in NAMES}
    (tmp_path / "deep/er").mkdir(parents=True)
    wanted |= {make(tmp_path / "deep/er", name): "file" for name in NAMES}
    (tmp_path / "link").symlink_to("deep")
    os.mkfifo(tmp_path / "fifo")
    wanted |= {make(tmp_path, b".b.12.dmtmp"): "temporary", make(tmp_path, b".dm-del-9"): "temporary"}
    wanted |= {file_url(tmp_path / "link"): "link", file_url(tmp_path / "fifo"): "other"}
    assert {entry.url: entry.kind for entry in STORE.list(file_url(tmp_path))} == wanted
    (entry,) = [entry for entry in STORE.list(file_url(tmp_path)) if entry.url.endswith("er/plain")]
    assert entry.size == 5
    assert abs(entry.mtime - (tmp_path / "deep/er/plain").stat().st_mtime) < 1e-3


def test_a_listing_streams_and_may_be_left(tmp_path: Path) -> None:
    for number in range(3000):
        make(tmp_path, b"%d" % number)
    listing = STORE.list(file_url(tmp_path))
    assert next(listing).size == 5
    listing.close()  # type: ignore[attr-defined]


def test_a_part_that_cannot_be_read_is_told_after_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, b"a")
    (tmp_path / "locked").mkdir()
    real = os.scandir

    def refuse(path: bytes) -> Any:
        if path.endswith(b"locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("dmtools.storage.listing.os.scandir", refuse)
    found = []
    problem = failing(lambda: found.extend(STORE.list(file_url(tmp_path))))
    assert problem.cls == "permission"
    assert "locked (Permission denied)" in problem.reason
    assert [entry.url for entry in found] == [file_url(tmp_path / "a")]
    assert failing(lambda: list(STORE.list(file_url(tmp_path / "none")))).cls == "missing"


def test_residency_by_the_attribute_of_the_file(tmp_path: Path) -> None:
    url = make(tmp_path, b"a")
    assert STORE.residency(url) == "ONLINE"
    os.setxattr(tmp_path / "a", "user.status", b"NEARLINE")
    assert STORE.residency(url) == "NEARLINE"
    os.setxattr(tmp_path / "a", "user.status", b"who knows")
    assert STORE.residency(url) == "UNKNOWN"
    assert failing(lambda: STORE.residency(url + "x")).cls == "missing"


def test_trouble_says_why_a_directory_cannot_be_used(tmp_path: Path) -> None:
    assert STORE.trouble(file_url(tmp_path)) is None
    assert "No such file" in str(STORE.trouble(file_url(tmp_path / "gone")))
    assert "no directory" in str(STORE.trouble(make(tmp_path, b"a")))


def test_client_for_knows_what_this_machine_can_do(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(client_for("file:///x", settings), LocalStore)
    assert client_reason("file:///x", settings) is None
    assert client_for("foo://host/x", settings) is None
    assert client_reason("foo://host/x", settings) == "no client knows foo://"
    assert "no scheme" in str(client_reason("/just/a/path", settings))
    monkeypatch.setenv("PATH", "/nonexistent")
    assert client_for("root://host//x", settings) is None
    assert "xrdfs" in str(client_reason("root://host//x", settings))
    assert "gfal-stat" in str(client_reason("davs://host/x", settings))
