"""The body of a tape job: on tape is only what the tape system itself says, size and checksum; never what a command said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dmtools.lta.remote.tape import TapeError
from dmtools.lta.remote.tape_hsi import HsiTape
from tests.lta.remote_steps import DATA, Archive, Body, archive_of, hsi_system
from tests.support import ROOT, environment, wait_until


@pytest.fixture(scope="module")
def _archive(home_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    yield from archive_of(home_template, tmp_path_factory.mktemp("archive"))


@pytest.fixture
def archive(_archive: Archive, short_tmp: Path) -> Archive:
    """One for all tests here; each has a directory of its own on its tape."""
    _archive.faults()
    _archive.root = f"/projects/{short_tmp.name}"
    return _archive


@pytest.fixture
def body(archive: Archive, short_tmp: Path) -> Body:
    made = Body(short_tmp, archive.env, hsi_system(tape_root=archive.root))
    made.lay()
    return made


def test_a_bundle_is_on_tape_with_its_checksum_and_a_second_run_puts_nothing(body: Body, archive: Archive) -> None:
    body.run().ok()
    assert body.result["outcome"] == "done"
    assert body.result["size"] == len(DATA)
    found = archive.files()
    assert list(found) == [body.tape]
    assert found[body.tape]["sha512"] == found[body.tape]["kept"] == body.result["sha512"]
    archive.faults({"match": "put ", "op": "fail"})  # a second put would fail
    body.key = "lta-test-b1-2"
    body.run().ok()
    assert list(archive.files()) == [body.tape]


@pytest.mark.parametrize(
    ("fault", "cls"),
    [
        ({"op": "nothing"}, "missing"),
        ({"op": "truncate"}, "size"),
        ({"op": "corrupt", "reason": "on the way"}, "checksum"),
        ({"op": "corrupt"}, "checksum"),  # on tape the bit differs, its checksum is the good one: only reading it tells
        ({"op": "no-checksum"}, "no-checksum"),
        ({"op": "fail", "reason": "put: (sha512) OK, all is well"}, "tape"),
    ],
)
def test_false_done_4_a_put_that_exits_0_and_stored_nothing_or_wrong_bytes_is_failed(
    body: Body, archive: Archive, fault: dict[str, object], cls: str
) -> None:
    archive.faults({"match": "put ", **fault})
    body.run().gave(1)
    assert (body.result["outcome"], body.result["cls"], body.result["sha512"]) == ("failed", cls, None)
    assert archive.files() == {}, "what was not proved stays on tape under no name"
    archive.faults()
    body.run().ok()


def test_another_file_under_the_name_is_occupied_and_never_overwritten(body: Body, archive: Archive) -> None:
    body.lay(b"another")
    body.size = 7
    script = f"mkdir -p {archive.root}/data/exp/2016 ; put -c on -H sha512 {body.local} : {body.tape}"
    subprocess.run(["hsi", "-q", "-P", script], env=environment(extra=archive.env), check=True)
    before = archive.files()
    body.lay()
    body.size = len(DATA)
    body.run().gave(1)
    assert body.result["cls"] == "occupied"
    assert archive.files() == before


@pytest.mark.parametrize(("data", "words"), [(None, "is not in the buffer"), (DATA[:-1], f"has {len(DATA) - 1} bytes")])
def test_a_scratch_file_that_is_missing_or_of_wrong_size_is_named(
    body: Body, archive: Archive, data: bytes | None, words: str
) -> None:
    body.local.unlink()
    if data is not None:
        body.lay(data)
    said = body.run().gave(1)
    assert body.result["cls"] == "scratch"
    assert words in body.result["why"]
    assert words in said.err
    assert archive.files() == {}


BAD = ("/a'b.zip", '/a"b.zip', "/a;rm b.zip", "/a*b.zip", "/a|b", "/a\nb", "/a$b`c`", "/a{b}", "/a!b", "/~a", "/a\udcffb", "/a:b")
GOOD = ("/-rf a%b_c+d@e.zip", "/Grüße (2),=.zip")


def test_a_name_that_hsi_cant_quote_is_refused_by_name(body: Body, archive: Archive) -> None:
    for name in BAD:
        with pytest.raises(TapeError) as refused:
            HsiTape(9).check_name(name)
        assert refused.value.cls == "name"
    body.ideal = BAD[2]
    body.run().gave(1)
    assert body.result["cls"] == "name"
    assert archive.files() == {}


def test_names_that_can_be_quoted_go_to_tape_as_they_are(body: Body, archive: Archive) -> None:
    for name in GOOD:
        body.ideal = name
        body.lay()
        body.run().ok()
    assert sorted(archive.files()) == sorted(archive.root + name for name in GOOD)


def test_a_tape_that_is_away_is_no_failure(body: Body, archive: Archive) -> None:
    archive.faults({"match": "hpss_avail", "op": "fail"}, {"match": "put ", "op": "fail"})
    body.run().gave(75)
    assert body.result["outcome"] == "away"


def test_timeouts_6_a_command_with_a_grandchild_that_holds_the_pipe_is_ended_whole_and_told(short_tmp: Path) -> None:
    put = ["sh", "-c", f"sleep 600 & echo $! >{short_tmp}/grandchild; sleep 600"]
    commands = {name: ["true"] for name in ("available", "list", "checksum", "get", "rename", "remove")} | {"put": put}
    body = Body(short_tmp, {}, hsi_system(tape="commands", tape_commands=commands, tape_seconds=1))
    body.lay()
    body.run().gave(1)
    assert body.result["cls"] == "timeout"
    assert "did not end within 1 s" in body.result["why"]
    pid = int((short_tmp / "grandchild").read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text(), 10)


def test_commands_of_the_site_are_believed_only_in_words_that_are_understood(short_tmp: Path) -> None:
    """An error text, a page of HTML, two lines: none of them is a size, and none means that there is no file."""
    script = 'case "$1" in list) echo "<html>404"; esac'
    names = ("available", "list", "checksum", "put", "get", "rename", "remove")
    system = hsi_system(tape="commands", tape_commands={name: ["sh", "-c", script, "sh", name] for name in names})
    body = Body(short_tmp, {}, system)
    body.lay()
    body.run().gave(1)
    assert body.result["cls"] == "unclear"
    assert "<html>404" in body.result["why"]


def test_a_directory_as_tape_by_commands_and_by_itself(short_tmp: Path) -> None:
    tape = short_tmp / "tape"
    (tape / "data/exp/2016").mkdir(parents=True)
    commands = {
        "available": ["test", "-d", str(tape)],
        "list": ["sh", "-c", '[ ! -e "$1" ] || stat -c %s "$1"', "sh", "{tape}"],
        "checksum": ["sha512sum", "--", "{tape}"],
        "put": ["cp", "--", "{local}", "{tape}"],
        "get": ["cp", "--", "{tape}", "{local}"],
        "rename": ["mv", "-n", "--", "{tape}", "{to}"],
        "remove": ["rm", "--", "{tape}"],
    }
    body = Body(short_tmp, {}, hsi_system(tape="commands", tape_root=str(tape), tape_commands=commands))
    body.lay()
    body.run().ok()
    assert Path(body.tape).read_bytes() == DATA
    body.system = hsi_system(tape="directory", tape_root=str(tape))
    body.ideal = "/other/c.zip"
    body.lay()
    body.run().ok()
    assert sorted(path.name for path in tape.rglob("*") if path.is_file()) == ["b.zip", "c.zip"]
    tape.rename(short_tmp / "away")
    body.run().gave(75)
    assert body.result["why"] == f"the tape's directory {tape} is not there"


@pytest.mark.needs("root")
def test_a_tape_that_is_full_and_an_export_directory_that_is_full_cost_no_attempt(short_tmp: Path) -> None:
    tape = short_tmp / "tape"
    tape.mkdir()
    body = Body(short_tmp, {}, hsi_system(tape="directory", tape_root=str(tape)))
    body.lay()
    small = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=4k tmpfs "$0" && exec "$@"')
    body.run(prefix=(*small, tape)).gave(75)
    assert (body.result["outcome"], body.result["cls"]) == ("away", "full")
    body.run().ok()
    body.local.unlink()
    body.kind = "get"
    body.run(prefix=(*small, body.local.parent)).gave(75)
    assert body.result["outcome"] == "away"
    assert list(body.local.parent.iterdir()) == []
    body.run().ok()


def test_back_from_tape_is_proved_before_it_has_its_name(body: Body, archive: Archive, short_tmp: Path) -> None:
    body.run().ok()
    body.local.unlink()
    body.kind = "get"
    archive.faults({"match": "get ", "op": "corrupt"})
    body.run().gave(1)
    assert body.result["cls"] == "checksum"
    assert body.result["differs"]
    assert list(body.local.parent.iterdir()) == []
    archive.faults()
    body.run().ok()
    assert body.local.read_bytes() == DATA
    body.local.write_bytes(b"somebody's")
    body.run().gave(1)
    assert body.result["cls"] == "occupied"
    assert body.local.read_bytes() == b"somebody's"


def test_one_bit_that_rots_on_tape_is_found_by_reading_it(body: Body, archive: Archive) -> None:
    body.run().ok()
    body.kind = "fixity"
    body.run().ok()
    archive.flip(body.tape)
    body.run().gave(1)
    assert (body.result["cls"], body.result["differs"]) == ("checksum", True)


def test_a_job_that_is_stopped_says_so_and_leaves_nothing_on_tape(body: Body, archive: Archive) -> None:
    archive.faults({"match": "put ", "op": "stall", "seconds": 30})
    jobs = body.place / body.key
    argv = [sys.executable, str(ROOT / "bin/lta-nersc-client"), "--job", str(jobs / "job.json")]
    archive.faults({"match": "ls ", "op": "fail", "times": 1})
    body.run().gave(1)  # writes job.json
    archive.faults({"match": "put ", "op": "stall", "seconds": 30})
    child = subprocess.Popen(argv, env=environment(extra=archive.env), stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: "hsi" in _children(child.pid), 30, "hsi put runs")
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 143
    finally:
        child.kill()
        child.wait()
    assert (body.result["outcome"], body.result["cls"]) == ("away", "stopped")
    assert archive.files() == {}


def _children(pid: int) -> str:
    found = subprocess.run(["ps", "-ww", "--ppid", str(pid), "-o", "args="], capture_output=True, text=True, check=False).stdout
    return found if "put -c on" in found else ""


def test_wrong_job_files_are_named(short_tmp: Path, run: Callable[..., object]) -> None:
    for text in ("", "[]", '{"key": 1}', "<html>"):
        (short_tmp / "job.json").write_text(text)
        said = run("lta-nersc-client", "--job", short_tmp / "job.json").gave(2)  # type: ignore[attr-defined]
        assert "is no job file" in said.err
    assert os.listdir(short_tmp) == ["job.json"]
