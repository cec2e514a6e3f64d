"""lta-nersc-client: bundles from the buffer to tape by passes, over REST only."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools.lta.remote import settings as remote_settings
from dmtools.settings import Lta
from tests.lta.bookkeeping import force, move, take
from tests.lta.site_steps import Serve, TwoSites
from tests.support import Result


@pytest.fixture
def sites(home: Path, short_tmp: Path, serve: Serve) -> TwoSites:
    server = serve("lta-rest-server", "--port", 0, home=home)
    return TwoSites.of(home, short_tmp, server.url)


def test_bundles_go_to_tape_and_leave_the_buffer_when_that_is_proved(sites: TwoSites) -> None:
    names = ("/data/a.zip", "/data/Gr%C3%BC%C3%9Fe%20(2)%25.zip", "/data/%FF'%22%0A.zip")
    data = {name: sites.push(name).size for name in names}
    plan = sites.client("--dry-run")
    assert "would begin tape jobs for 3 bundles and 0 errands" in plan.out
    assert not (sites.remote / "run").exists()
    first = sites.client("--json").json
    assert first["counts"] == {"PushDone>NERSCRunning": 3}
    assert all(sites.buffer(name).exists() for name in names), "nothing is proved yet"
    sites.jobs_over()
    assert sites.client("--json").json["counts"] == {"NERSCRunning>NERSCDone": 3, "NERSCDone>NERSCClean": 3}
    for name in names:
        assert sites.tape(name).read_bytes() == name.encode() * 40
        assert not sites.buffer(name).exists()
        assert sites.steps(name) == ["PushDone>NERSCRunning", "NERSCRunning>NERSCDone", "NERSCDone>NERSCClean"]
        assert sites.bundle(name).size == data[name]
        assert sites.bundle(name).tape == f"{sites.remote}/tape{name}"
    told = sites.site()
    assert (told.state, told.error, told.reserved) == ("Run", None, 0)
    assert told.free is not None
    assert told.quota is not None
    assert told.quota == told.free + sum(data.values()), "what lay in the buffer then is room for bundles, too"
    assert sites.client("--json").json["state"] == "idle"
    assert list((sites.remote / "lta/tape-jobs").iterdir()) == list((sites.remote / "run/batch/local").glob("lta-*")) == []


def test_retries_7_a_put_that_always_fails_is_called_4_times_and_its_bundle_quarantined(sites: TwoSites) -> None:
    counted = sites.remote / "calls"
    commands = {name: ["true"] for name in ("available", "list", "checksum", "get", "rename", "remove")}
    commands["put"] = ["sh", "-c", f"echo x >>{counted}; echo 'HSI: error: all done OK' >&2; exit 1"]
    sites.settings(tape="commands", tape_commands=commands)
    sites.push("/a.zip")
    for number in range(1, 5):
        sites.client(codes=(0, 1))
        sites.jobs_over()
        said = sites.client(codes=(1,))
        assert "HSI: error: all done OK" in said.err
        assert counted.read_text() == "x\n" * number
        sites.due()
    one = sites.bundle("/a.zip")
    assert (one.state, one.origin, one.error_class, one.failures) == ("Quarantined", "NERSCRunning", "tape", 4)
    assert one.reason is not None
    assert one.reason.endswith("attempt 4 of 4")
    assert sites.client("--json").json["state"] == "idle"
    assert sites.buffer("/a.zip").exists()


def test_retries_7_a_put_that_fails_once_counts_as_one_bundle_done(sites: TwoSites) -> None:
    sites.push("/a.zip")
    kept = sites.buffer("/a.zip").read_bytes()
    sites.buffer("/a.zip").unlink()
    sites.passes(1)
    assert "is not in the buffer" in sites.client(codes=(1,)).err
    assert sites.bundle("/a.zip").state == "NERSCProblem"
    sites.buffer("/a.zip").write_bytes(kept)
    sites.due()
    sites.passes(2)
    one = sites.bundle("/a.zip")
    assert (one.state, one.failures, one.reason) == ("NERSCClean", 0, None)
    assert sites.steps("/a.zip").count("NERSCRunning>NERSCDone") == 1


def test_control_8_halt_beats_drain_beats_run_and_no_word_makes_a_site_an_error(sites: TwoSites) -> None:
    ended = {"run": "idle", "drain": "draining", "halt": "halted"}
    rank = list(ended)
    for theirs in rank:
        sites.say(theirs)
        for own in rank:
            sites.own(own.upper())
            assert sites.client("--json").json["state"] == ended[max(theirs, own, key=rank.index)]
            assert (sites.site().state, sites.site().error) == ("Run", None)
    sites.own("hold")
    assert "which is none of run, drain and halt" in sites.client(codes=(75,)).err


def test_control_8_a_drain_finishes_what_is_in_flight_and_starts_nothing_and_a_halt_does_neither(sites: TwoSites) -> None:
    sites.push("/a.zip")
    sites.passes(1)
    sites.push("/b.zip")
    sites.say("halt")
    assert sites.client("--json").json["counts"] == {}
    assert sites.states() == {"/a.zip": "NERSCRunning", "/b.zip": "PushDone"}
    sites.say("run")
    sites.own("drain")
    sites.passes(2)
    assert sites.states() == {"/a.zip": "NERSCClean", "/b.zip": "PushDone"}
    sites.own("run")
    sites.passes(2)
    assert sites.states() == {"/a.zip": "NERSCClean", "/b.zip": "NERSCClean"}


def test_control_8_an_error_clears_when_its_cause_does_and_an_operators_hold_does_not(sites: TwoSites) -> None:
    sites.push("/a.zip")
    tape = sites.remote / "tape"
    tape.rename(sites.remote / "away")
    said = sites.client(codes=(75,))
    assert f"the tape's directory {tape} is not there" in said.err
    assert sites.site().state == "Error"
    assert sites.states() == {"/a.zip": "PushDone"}
    sites.say("halt")
    sites.client(codes=(0, 75))
    (sites.remote / "away").rename(tape)
    assert sites.client("--json").json["state"] == "halted"
    assert (sites.site().state, sites.site().error) == ("Run", None)
    sites.say("run")
    sites.passes(2)
    assert sites.states() == {"/a.zip": "NERSCClean"}


def test_a_tape_that_goes_away_under_a_job_costs_no_attempt(sites: TwoSites) -> None:
    sites.push("/a.zip")
    stall = {name: ["true"] for name in ("list", "checksum", "get", "rename", "remove")}
    stall |= {"available": ["test", "!", "-e", f"{sites.remote}/down"], "put": ["sh", "-c", f"touch {sites.remote}/down; exit 1"]}
    sites.settings(tape="commands", tape_commands=stall)
    sites.passes(1)
    assert "put off" in sites.client(codes=(0, 75)).err
    one = sites.bundle("/a.zip")
    assert (one.state, one.failures) == ("PushDone", 0)
    assert sites.site().state == "Error"


def test_the_server_is_away_for_a_while_and_all_goes_on(sites: TwoSites, home: Path, serve: Serve, short_tmp: Path) -> None:
    server = serve("lta-rest-server", "--port", 0, home=home)
    sites.url = server.url
    sites.settings()
    sites.push("/a.zip")
    sites.client()
    server.kill()
    said = sites.client(codes=(75,))
    assert "server away" in said.err
    assert "the next pass asks again" in said.err
    sites.jobs_over()
    serve("lta-rest-server", "--port", server.url.rpartition(":")[2], home=home)
    sites.client()
    assert sites.states() == {"/a.zip": "NERSCClean"}


def test_a_token_that_is_not_good_is_told_with_what_to_do(sites: TwoSites, run: Callable[..., Result]) -> None:
    token = sites.remote / "token"
    token.touch(0o600)
    token.write_text("no-such-token\n")
    sites.settings(token_file="token")
    said = sites.client(codes=(2,))
    assert "does not take the token" in said.err
    assert "lta-rest-server token add --role worker --site nersc" in said.err
    assert "no-such-token" not in said.err + said.out
    sites.settings(token_file=f"{sites.home}/secrets/lta-worker.token")
    assert "it must be that of a worker at nersc" in sites.client(codes=(2,)).err
    token.chmod(0o644)
    sites.settings(token_file="token")
    assert "chmod 600" in sites.client(codes=(2,)).err
    token.unlink()
    assert "can't be read" in sites.client(codes=(2,)).err


def test_a_full_buffer_is_told_and_its_tape_jobs_go_on(sites: TwoSites) -> None:
    sites.push("/a.zip", b"x" * 1000)
    sites.settings(remote_free_bytes=2**60)
    said = sites.client(codes=(0,))
    assert "less than the" in said.err
    assert (sites.site().state, sites.site().quota) == ("Error", 0)
    sites.jobs_over()
    sites.settings(remote_free_bytes=0, remote_quota_bytes=5000)
    sites.client()
    assert (sites.site().state, sites.site().quota) == ("Run", 5000)
    assert sites.states() == {"/a.zip": "NERSCClean"}
    (sites.remote / "buffer").rename(sites.remote / "gone")
    sites.client(codes=(75,))
    assert (sites.site().quota, sites.site().free) == (None, None), "what is not known is not 0 and not full"


def test_the_buffer_is_cleaned_only_of_what_is_proved(sites: TwoSites) -> None:
    for name, state in (("/proved.zip", "NERSCClean"), ("/bad.zip", "Quarantined"), ("/given-up.zip", "Abort")):
        force(sites.books, sites.push(name), state, holder=None, **({"live_key": None} if state == "Abort" else {}))
    sites.settings(tape_jobs=1)
    sites.push("/first.zip")
    sites.push("/waits.zip")
    stray = {"/new": 0.0, "/old": 3 * 86400.0}
    for name, age in stray.items():
        sites.buffer(name).write_bytes(b"whose?")
        os.utime(sites.buffer(name), (time.time() - age,) * 2)
    os.utime(sites.buffer("/given-up.zip"), (time.time() - 3 * 86400,) * 2)
    said = sites.client()
    assert "unknown file in the buffer: /old" in said.err
    assert "unknown file in the buffer: /given-up.zip" in said.err
    assert "/new" not in said.err
    left = sorted(path.name for path in (sites.remote / "buffer").iterdir())
    assert left == ["bad.zip", "first.zip", "given-up.zip", "new", "old", "waits.zip"]
    sites.jobs_over()


def test_a_copy_in_the_buffer_that_is_another_file_or_lies_outside_is_left_and_told(sites: TwoSites) -> None:
    sites.push("/a.zip")
    sites.push("/out/b.zip")
    sites.passes(1)
    sites.buffer("/a.zip").write_bytes(b"another")
    outside = sites.remote / "outside"
    sites.buffer("/out").rename(outside)
    sites.buffer("/out").symlink_to(outside)
    said = sites.client(codes=(1,))
    assert "is not the" in said.err
    assert "leads out of the buffer" in said.err
    assert (outside / "b.zip").exists()
    assert sites.states() == {"/a.zip": "NERSCDone", "/out/b.zip": "NERSCDone"}


def test_claims_2_what_another_home_left_is_taken_over_when_its_claim_has_run_out_and_not_before(
    sites: TwoSites, short_tmp: Path
) -> None:
    sites.push("/a.zip")
    sites.passes(1)
    other = TwoSites(sites.home, short_tmp / "other", sites.books, sites.url, dict(sites.lta))
    other.remote.mkdir()
    other.settings(**{name: f"{sites.remote}/{place}" for name, place in (("remote_buffer", "buffer"), ("tape_root", "tape"))})
    assert other.client("--json").json["counts"] == {}
    other.due()
    assert other.client("--json").json["counts"] == {"NERSCRunning>PushDone": 1, "PushDone>NERSCRunning": 1}
    sites.client()
    assert sites.states() == {"/a.zip": "NERSCRunning"}, "the one that came late writes nothing"
    other.jobs_over()
    other.client()
    assert sites.states() == {"/a.zip": "NERSCClean"}
    assert sites.tape("/a.zip").read_bytes() == b"/a.zip" * 40


def test_a_person_gives_a_bundle_up_while_its_job_runs_and_the_pass_lets_go(sites: TwoSites) -> None:
    one = sites.push("/a.zip")
    sites.passes(1)
    force(sites.books, one, "Abort", holder=None, live_key=None)
    assert sites.client("--json").json["counts"] == {}
    for place in (*(sites.remote / "lta/tape-jobs").iterdir(), *(sites.remote / "run/batch/local").glob("lta-*")):
        os.utime(place, (1, 1))
    sites.client()
    assert list((sites.remote / "lta/tape-jobs").iterdir()) == list((sites.remote / "run/batch/local").glob("lta-*")) == []


def test_a_bundle_comes_back_and_its_export_copy_goes_when_it_was_fetched(sites: TwoSites) -> None:
    sites.push("/data/a.zip")
    sites.passes(2)
    sites.ask("recall", "/data/a.zip")
    sites.passes(2)
    [errand] = sites.errands()
    assert (errand.state, errand.place) == ("ExportReady", "davs://dtn/export/data/a.zip")
    copy = sites.remote / "export/data/a.zip"
    assert copy.read_bytes() == b"/data/a.zip" * 40
    from tests.lta.errand_steps import fetched

    fetched(sites.books, errand)
    sites.client()
    assert sites.errands()[0].state == "RemoteCleaned"
    assert not copy.exists()


def test_fixity_of_one_flipped_bit_quarantines_the_bundle_and_of_a_right_one_books_it(sites: TwoSites) -> None:
    for name in ("/good.zip", "/bad.zip"):
        sites.push(name)
    sites.passes(2)
    with sites.tape("/bad.zip").open("r+b") as file:
        file.write(b"\x2e")
    for name in ("/good.zip", "/bad.zip"):
        sites.ask("fixity", name)
    sites.passes(1)
    said = sites.client(codes=(1,))
    assert "FixityProblem (checksum): /bad.zip" in said.err
    assert {one.bundle.ideal: one.state for one in sites.errands()} == {"/good.zip": "FixityDone", "/bad.zip": "FixityProblem"}
    assert sites.states() == {"/good.zip": "NERSCClean", "/bad.zip": "Quarantined"}
    assert sites.bundle("/good.zip").audited is not None
    assert sites.bundle("/bad.zip").origin == "NERSCClean"


def test_a_job_that_was_booked_and_never_submitted_is_submitted_and_costs_no_attempt(sites: TwoSites) -> None:
    sites.push("/a.zip")
    sites.passes(1)
    [job] = (sites.remote / "lta/tape-jobs").iterdir()
    for name in os.listdir(job):
        if name != "job.json":
            (job / name).unlink()
    shutil.rmtree(sites.remote / "run/batch")
    sites.tape("/a.zip").unlink()
    assert sites.passes(1)[0].err == ""
    sites.client()
    assert sites.steps("/a.zip") == ["PushDone>NERSCRunning", "NERSCRunning>NERSCDone", "NERSCDone>NERSCClean"]


def test_a_name_that_can_lead_out_is_quarantined_and_the_rest_goes_on(sites: TwoSites) -> None:
    sites.settings(
        tape="commands",
        tape_commands={key: ["true"] for key in ("available", "list", "checksum", "put", "get", "rename", "remove")},
    )
    bad = sites.push("/a/../../b.zip")
    said = sites.client(codes=(1,))
    assert "holds '..'" in said.err
    one = sites.bundle("/a/../../b.zip")
    assert (one.state, one.error_class, one.origin) == ("Quarantined", "name", "PushDone")
    assert bad.id == one.id


def test_done_that_is_on_tape_but_was_not_booked_is_found_and_not_put_again(sites: TwoSites) -> None:
    """Its job and its result are lost with the node; the tape has it."""
    sites.push("/a.zip")
    sites.passes(1)
    shutil.rmtree(sites.remote / "lta/tape-jobs")
    inode = sites.tape("/a.zip").stat().st_ino
    sites.passes(2)
    assert sites.states() == {"/a.zip": "NERSCClean"}
    assert sites.tape("/a.zip").stat().st_ino == inode


def test_every_key_of_lta_is_known_to_the_remote_site_and_wrong_ones_are_named() -> None:
    known = remote_settings._DEFAULTS.keys() | remote_settings.ELSEWHERE
    assert known == set(Lta.__struct_fields__)
    assert not remote_settings._DEFAULTS.keys() & remote_settings.ELSEWHERE
    usual = Lta()
    for key, default in remote_settings._DEFAULTS.items():
        assert default == getattr(usual, key), key


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tape_rot = 'x'", "no key 'tape_rot'; near it is 'tape_root'"),
        ("tape_jobs = 0", "must be a whole number from 1 on, not 0"),
        ("tape = 'disk'", "must be one of directory, hsi, commands"),
        ("tape_commands = { put = 'cp' }", "tape_commands.put must be a list of texts"),
        ("url = 'ftp://x'", "write https://HOST"),
        ("url = 'http://lta.example.edu'", "others could read the token"),
    ],
)
def test_wrong_settings_are_told(short_tmp: Path, run: Callable[..., Result], line: str, said: str) -> None:
    (short_tmp / "t").touch(0o600)
    (short_tmp / "t").write_text("token")
    (short_tmp / "dmtools.toml").write_text(f"[lta]\ntoken_file = 't'\n{line}\n")
    assert said in run("lta-nersc-client", "--config", short_tmp / "dmtools.toml").gave(2).err


def test_claims_are_handed_back_when_the_pass_can_go_no_further(sites: TwoSites) -> None:
    """The disk with the job files is full: nothing is begun, and the bundle can be claimed at once."""
    sites.push("/a.zip")
    (sites.remote / "lta").mkdir()
    (sites.remote / "lta/tape-jobs").write_bytes(b"")
    sites.client(codes=(75,))
    one = sites.bundle("/a.zip")
    assert (one.state, one.holder) == ("PushDone", None)
    held = take(sites.books, "PushDone")
    assert [found.ideal for found in held] == ["/a.zip"]
    move(sites.books, held[0], "NERSCProblem", why="as the test wants it")


def test_control_8_the_word_of_a_home_of_its_own_is_heard_too(sites: TwoSites, run: Callable[..., Result]) -> None:
    """A remote HOME that dm-config init made has dm-command; its halt is its own, and the source goes on."""
    sites.push("/a.zip")
    run("dm-config", "init", sites.remote).ok()
    run("dm-command", "halt", "lta", "--home", sites.remote).ok()
    assert sites.client("--json").json["state"] == "halted"
    assert sites.site().state == "Run"
    run("dm-command", "run", "--home", sites.remote).ok()
    assert sites.client("--json").json["counts"] == {"PushDone>NERSCRunning": 1}
    sites.jobs_over()
    (sites.remote / "dmtools.db").write_bytes(b"no database")
    assert "control word unknown" in sites.client(codes=(75,)).err
