"""Ten troubles, staged for real: dm-train-ok's word is right, dm-trace names cause and next step, and both lead to a page."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from dmtools import clock
from dmtools.control import troubles
from tests.migrate.steps import Site
from tests.support import ROOT, Result, Server, command, environment, run, wait_until

CODES = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
PASSES = ("migrate-producer", "migrate-consumer", "migrate-monitor")
HOUR = 3600.0
FILES = ("/run/1", "/run/2")


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Site:
    """Two files in one list, cut; one server, that runs; every component ran."""
    found = Site(home, serve)
    found.only()
    found.start()
    found.master(found.files(*FILES))
    found.produce()
    found.run("migrate-monitor").ok()
    return found


def at(later: float) -> dict[str, str]:
    """The environment of a command so many seconds from now."""
    return {"DMTOOLS_CLOCK_OFFSET": str(later)}


def says(site: Site, word: str, title: str, later: float = 0) -> str:
    """dm-train-ok's word and exit code are these, and what it prints leads to the page. Gives the lines that do."""
    found = site.run("dm-train-ok", env=at(later))
    assert found.out.startswith(f"TRAINOK {word} - "), found
    assert found.code == CODES[word], found
    lines = [line for line in found.out.splitlines() if f"docs/troubles.md, {title}" in line]
    assert lines, found
    assert f"### {title}\n" in page(), "the page is there"
    return "\n".join(lines)


def traces(site: Site, name: str, cause: str, step: str, title: str, later: float = 0) -> str:
    """dm-trace names the cause and the next step, and leads to the page. Gives the next step as it is printed."""
    found = site.run("dm-trace", name, env=at(later)).ok()
    told = dict(re.findall(r"^(why|do|see): (.*)$", found.out, re.MULTILINE))
    assert cause in told["why"], found
    assert step in told["do"], found
    assert told.get("see") == f"docs/troubles.md, {title}", found
    section = page().partition(f"### {title}\n")[2].partition("\n### ")[0]
    assert "*dm-trace:*" in section, "the page says what dm-trace says"
    assert "*Do:*" in section
    return told["do"]


def page() -> str:
    return (ROOT / "docs/troubles.md").read_text("utf-8")


def passes(site: Site, later: float, *names: str) -> None:
    """A pass of each of these (all), so many seconds from now."""
    for name in names or PASSES:
        site.run(name, env=at(later)).gave(0, 1)


def all_is_well(site: Site, later: float = 0) -> None:
    """In the end every file is there, once, and nobody alarms."""
    site.settle()
    assert {lfn: site.target(lfn).read_bytes() == site.source(lfn).read_bytes() for lfn in FILES} == dict.fromkeys(FILES, True)
    assert sorted(site.copies()) == sorted(f"file://{site.target(lfn)}" for lfn in FILES)
    if not later:
        site.run("migrate-producer").ok()
        assert site.run("dm-train-ok").ok().out.startswith("TRAINOK OK - ")
    site.agrees()


def test_every_title_has_its_section() -> None:
    titles = {value for name, value in vars(troubles).items() if name.isupper() and isinstance(value, str)}
    heads = set(re.findall(r"^### (.+)$", page(), re.MULTILINE))
    assert set(troubles.OF_FIGURES.values()) <= titles <= heads


# ---- servers and credentials -------------------------------------------------------------------------------------------


def test_every_server_is_away(site: Site) -> None:
    site.servers["fts1"].kill()
    site.run("migrate-consumer").gave(75)
    assert "every FTS server is away: fts1" in says(site, "CRITICAL", troubles.SERVER_AWAY)
    traces(site, FILES[0], "fts1 is away since ", "bring fts1 back", troubles.SERVER_AWAY)
    site.start()
    all_is_well(site)


def test_a_server_is_away_that_has_our_jobs_and_falls_silent(site: Site) -> None:
    site.faults('[[fault]]\nmatch = "/castor/"\nop = "slow"\nseconds = 600\n')
    site.consume()
    site.faults('[[fault]]\nmatch = "GET /jobs"\nop = "silent"\nseconds = 60\n')
    site.settings("[migrate]\nretry_seconds = 1\n")
    text = (site.home / "dmtools.toml").read_text()
    (site.home / "dmtools.toml").write_text(text.replace("weight = 1 }]\n", "weight = 1 }]\ncall_seconds = 1\n"))
    assert "FTS server away" in site.run("migrate-monitor").gave(0, 75).err
    says(site, "CRITICAL", troubles.SERVER_AWAY)
    step = traces(site, FILES[0], "fts1 is away since ", "bring fts1 back", troubles.SERVER_AWAY)
    assert "migrate-cancel --abandon fts1" in step


def proxy(path: Path, life: timedelta) -> Path:
    """A proxy file with so much life left."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key, name = rsa.generate_private_key(65537, 2048), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "proxy")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(clock.now() - timedelta(days=30)).not_valid_after(clock.now() + life)
    signed = made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    path.write_bytes(signed + key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    path.chmod(0o600)
    return path


def test_the_proxy_is_expired(site: Site) -> None:
    path = proxy(site.home / "secrets/proxy", timedelta(minutes=-5))
    text = (site.home / "dmtools.toml").read_text()
    (site.home / "dmtools.toml").write_text(text.replace('"sim:fts1"', '"https://127.0.0.1:9"'))
    site.settings(f'[credentials]\nproxy = "{path}"\n')
    site.run("migrate-consumer").gave(75)
    assert f"the proxy {path} has " in says(site, "CRITICAL", troubles.CREDENTIALS)
    traces(site, FILES[0], f"the proxy {path} has ", "renew the proxy", troubles.CREDENTIALS)
    (site.home / "dmtools.toml").write_text(text)
    all_is_well(site)


# ---- the machine -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(site: Site, short_tmp: Path) -> Iterator[Path]:
    """HOME moved to a disk of 4 MB; sources and destinations stay where they were."""
    disk, big = short_tmp / "disk", site.home
    site.servers["fts1"].stop()
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0750", "dm-troubles", disk], check=True)
    try:
        site.home = disk / "home"
        shutil.copytree(big, site.home, symlinks=True, ignore=shutil.ignore_patterns("demo"))
        (site.home / "demo").symlink_to(big / "demo")
        site.home.chmod(0o750)
        rule(site, "", big)
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.needs("root")
def test_the_disk_is_full(site: Site, small_disk: Path) -> None:
    free = os.statvfs(small_disk)
    room = 24 << 12
    with (small_disk / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize - room)
        assert "HOME: 1." in says(site, "CRITICAL", troubles.DISK_FULL)
        traces(site, FILES[0], f"the disk that holds {site.home} is full", "make room", troubles.DISK_FULL)
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize)  # now the tables can't even be read
    for name in ("migrate-consumer", "dm-trace /run/1"):
        assert "docs/troubles.md, The disk is full" in site.run(*name.split()).gave(75).err
    says(site, "UNKNOWN", troubles.DISK_FULL)
    (small_disk / "ballast").unlink()
    site.start("--root", site.home.resolve() / "demo")
    site.settle()
    assert site.run("dm-trace", FILES[0], "--json").ok().json["state"] == "Okay"


def test_the_database_is_locked(site: Site) -> None:
    text = (site.home / "dmtools.toml").read_text()
    site.settings("[database]\nbusy_seconds = 1\n[train_ok]\nlag_warning_seconds = 1\n")
    with closing(sqlite3.connect(site.home / "dmtools.db", isolation_level=None)) as tool:
        tool.execute("BEGIN IMMEDIATE")
        assert "docs/troubles.md, The database is locked" in site.run("migrate-consumer").gave(75).err
        assert "has been locked by another command" in says(site, "WARNING", troubles.LOCKED)
        step = traces(site, FILES[0], "the database is locked by another process", "fuser -v ", troubles.LOCKED)
        assert str(site.home / "dmtools.db") in step
    with closing(sqlite3.connect(site.home / "dmtools.db", isolation_level=None)) as tool:
        tool.execute("PRAGMA locking_mode = EXCLUSIVE")
        tool.execute("BEGIN EXCLUSIVE")  # now it can't even be read
        says(site, "UNKNOWN", troubles.LOCKED)
        assert "docs/troubles.md, The database is locked" in site.run("dm-trace", FILES[0]).gave(75).err
    (site.home / "dmtools.toml").write_text(text)
    all_is_well(site)


def test_the_clock_goes_back_by_an_hour(site: Site) -> None:
    site.faults(f'[[fault]]\nmatch = "{FILES[1]}"\nop = "fail"\nreason = "Connection timed out"\ntimes = 1\n')
    passes(site, HOUR)
    site.over()
    passes(site, HOUR)
    assert "in the future: a clock is wrong, or was set back" in says(site, "WARNING", troubles.CLOCK)
    traces(site, FILES[1], "in the future: a clock was set back", "set the clock right", troubles.CLOCK)
    seen = site.run("dm-monitoring", "--json").ok().json["pipelines"]["migrate"]
    assert all(seconds >= 0 for seconds in seen["oldest"].values())
    figures = site.run("dm-train-ok", "--json").gave(1).json["figures"]
    assert all(one["value"] is None or one["value"] >= 0 for one in figures)
    assert {one["see"] for one in figures if one["state"] != "OK"} == {f"docs/troubles.md, {troubles.CLOCK}"}, "nobody is late"
    for name in ("dm-trace", "dm-monitoring", "dm-leases"):
        words = [FILES[0]] if name == "dm-trace" else []
        assert not re.search(r"-\d+ (s|min|h|d)\b", site.run(name, *words).ok().out)
    all_is_well(site, HOUR)


# ---- passes ------------------------------------------------------------------------------------------------------------


def test_a_halt_is_forgotten(site: Site) -> None:
    site.run("dm-command", "halt", "migrate", "--reason", "new disks").ok()
    later = 80 * HOUR
    assert "new disks; forgotten? dm-command run migrate" in says(site, "WARNING", troubles.HALTED, later)
    step = traces(site, FILES[0], "migrate-consumer is held: halt of migrate by ", "run", troubles.HALTED, later)
    site.run(*shlex.split(step)).ok()
    all_is_well(site)


def test_a_lock_is_left_by_something_that_hangs(site: Site) -> None:
    site.consume()
    site.over()
    lock, later = site.home / "run/migrate-monitor.lock", 5 * HOUR
    with subprocess.Popen(["flock", lock, "sleep", "600"], env=environment(site.home), start_new_session=True) as left:
        try:
            wait_until(lambda: str(left.pid) in holders(lock), 60, "the lock is held")
            passes(site, later, "migrate-producer", "migrate-consumer")
            (line,) = [one for one in site.run("dm-crontab", "show").ok().out.splitlines() if "migrate-monitor" in one]
            ours = line.split(" ", 5)[5].replace("\\%", "%")
            silent = subprocess.run(["/bin/sh", "-c", ours], capture_output=True, text=True)
            assert (silent.returncode, silent.stdout + silent.stderr) == (0, "")
            assert "migrate-monitor: last success 5 h ago" in says(site, "WARNING", troubles.HANGS, later)
            cause = f"process {left.pid} (flock {lock} sleep 600) holds run/migrate-monitor.lock"
            step = traces(site, FILES[0], cause, "kill", troubles.HANGS, later)
            assert step.endswith(f"kill {left.pid}")
        finally:
            os.killpg(left.pid, signal.SIGTERM)
    all_is_well(site)


def holders(lock: Path) -> str:
    """The lines of /proc/locks about this file."""
    inode = f":{lock.stat().st_ino} " if lock.exists() else "none"
    return "".join(line for line in Path("/proc/locks").read_text().splitlines(True) if inode in line)


def test_a_pass_hangs(site: Site) -> None:
    site.faults('[[fault]]\nmatch = "GET /"\nop = "silent"\nseconds = 60\n')
    site.sql("UPDATE component SET state = 'idle'")
    with begun(site, "migrate-consumer") as stuck:
        os.kill(stuck.pid, signal.SIGSTOP)
        later = 5 * HOUR
        said = says(site, "WARNING", troubles.HANGS, later)
        assert f"a pass of migrate-consumer (pid {stuck.pid} on " in said
        step = traces(site, FILES[0], "has run for 5 h and does not end", f"kill {stuck.pid}", troubles.HANGS, later)
        site.faults("")
        assert step.partition("; ")[0].endswith(f"kill {stuck.pid}")
        os.kill(stuck.pid, signal.SIGKILL)
    all_is_well(site)


@contextmanager
def begun(site: Site, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A pass that has begun, and waits for its server; it is killed at the end."""
    with subprocess.Popen(command(name), env=environment(site.home), stdout=subprocess.DEVNULL) as found:
        try:
            running = "SELECT 1 FROM component WHERE state = 'running' AND pid = ?"
            wait_until(lambda: site.sql(running, found.pid), 60, f"{name} runs")
            yield found
        finally:
            found.kill()


def test_a_pass_is_killed_between_its_intent_and_the_answer(site: Site) -> None:
    site.faults('[[fault]]\nmatch = "POST /jobs"\nop = "silent"\nseconds = 30\n')
    with begun(site, "migrate-consumer") as killed:
        wait_until(lambda: site.names("DOING"), 60, "the intent is booked, and the list says so")
        killed.kill()
    site.faults("")
    cause = f"the last pass of migrate-consumer (pid {killed.pid})"
    step = traces(site, FILES[0], cause, "nothing: the next pass", troubles.KILLED)
    assert "takes over what it held" in step
    assert site.run("dm-train-ok").ok().out.startswith("TRAINOK OK - "), "the next pass is not late yet"
    passes(site, 5 * HOUR, "migrate-producer")
    site.sql("UPDATE component SET last_success = NULL WHERE name = 'consumer'")
    later = 13 * HOUR
    assert cause in says(site, "CRITICAL", troubles.KILLED, later)
    site.sql("UPDATE component SET state = 'idle' WHERE name = 'producer'")
    all_is_well(site, later)


def test_a_host_died_and_left_its_lease(site: Site) -> None:
    ((number,),) = site.sql("SELECT id FROM filelist")
    now = clock.now()
    stamps = [f"{now + timedelta(seconds=s):%Y-%m-%d %H:%M:%S.%f}" for s in (-60, 240)]
    row = (f"list/{number}", "farm07:4711:x", "farm07", "farm07/boot/pid", 4711, 1, *stamps)
    columns = "resource, owner, host, machine, pid, started, since, expires"
    with closing(sqlite3.connect(site.home / "dmtools.db")) as raw, raw:
        raw.execute(f"INSERT INTO lease ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    site.consume()
    assert site.names("TODO"), "it is respected"
    step = traces(site, FILES[0], "pid 4711 on farm07 holds it until ", "dm-leases --host farm07", troubles.DEAD_HOST)
    assert "1 leases are overdue" in says(site, "WARNING", troubles.DEAD_HOST, 300)
    site.run(*shlex.split(step.rpartition(": ")[2])).ok()
    all_is_well(site)


# ---- files -------------------------------------------------------------------------------------------------------------


def test_a_file_is_missing_at_the_source(site: Site) -> None:
    data = site.source(FILES[0]).read_bytes()
    site.source(FILES[0]).unlink()
    site.consume()
    site.over()
    site.monitor()
    assert "1 Bad or Missing need a person" in says(site, "WARNING", troubles.BAD)
    step = traces(site, FILES[0], "missing: the source is not there", "find the file", troubles.MISSING)
    site.source(FILES[0]).write_bytes(data)
    site.run(*shlex.split(step.partition("then: ")[2])).ok()
    all_is_well(site)


def test_a_copy_stands_still(site: Site) -> None:
    site.faults(f'[[fault]]\nmatch = "{FILES[0]}"\nop = "stall"\n')
    site.consume()
    later = 25 * HOUR
    passes(site, later)
    assert "2 files have been at their servers for more than 24 h" in says(site, "WARNING", troubles.STUCK, later)
    step = traces(site, FILES[0], "it has not moved for 25 h", "ask the operators of fts1", troubles.STUCK, later)
    site.faults("")
    cancel = re.search(r"migrate-cancel \S+", step)
    assert cancel, step
    site.run(*cancel[0].split()).ok()
    site.over()
    site.monitor()
    site.run("migrate-triage", "--class", "withdrawn", "--requeue").ok()
    site.settle()
    assert [site.run("dm-trace", lfn, "--json").ok().json["state"] for lfn in FILES] == ["Okay", "Okay"]


# ---- and what is no trouble, but a reason to wait -----------------------------------------------------------------------


def why(site: Site, name: str = FILES[0]) -> tuple[str, str]:
    found = site.run("dm-trace", name, "--json").ok().json
    return found["why"], found["next"]


def rule(site: Site, words: str, home: Path | None = None) -> None:
    """Settings whose one rule has these words, too."""
    text = (site.home / "dmtools.toml").read_text()
    demo = (home or site.home) / "demo"
    one = f'{{ match = "/", source = "file://{demo}/castor", destination = "file://{demo}/echo"{words} }}'
    (site.home / "dmtools.toml").write_text(f"migrate.rules = [{one}]\n{text}")


def test_a_list_waits_for_room(site: Site) -> None:
    original = (site.home / "dmtools.toml").read_text()
    minute = clock.now().astimezone() + timedelta(hours=2)
    rule(site, f', hours = "{minute:%H:%M}-{minute + timedelta(minutes=1):%H:%M}"')
    site.consume()
    said, step = why(site)
    assert f"the rule / submits only at {minute:%H:%M}-" in said
    assert step == "nothing: migrate-consumer takes it when there is room"
    (site.home / "dmtools.toml").write_text(original)
    rule(site, ", max_open_jobs = 1")
    site.faults('[[fault]]\nmatch = "/castor/"\nop = "slow"\nseconds = 600\n')
    site.consume()
    site.master(site.files("/run/3"), "more.txt")
    site.produce()
    site.consume()
    assert "the rule / has 1 jobs open, and may have 1" in why(site, "/run/3")[0]
    (site.home / "dmtools.toml").write_text(original)
    rule(site, ", bytes_per_hour = 100")
    assert "the rule / had 600 bytes in the last hour, and may have 100" in why(site, "/run/3")[0]
    (site.home / "dmtools.toml").write_text(f"migrate.max_open_jobs = 1\n{original}")
    assert "1 jobs are open, and no more than 1 may be ([migrate] max_open_jobs)" in why(site, "/run/3")[0]


def test_a_list_waits_for_its_next_try(site: Site) -> None:
    site.faults(f'[[fault]]\nmatch = "{FILES[0]}"\nop = "fail"\nreason = "Connection timed out"\ntimes = 1\n')
    site.consume()
    site.over()
    site.monitor()
    said, step = why(site)
    assert "next try " in said
    assert "Connection timed out" in said
    assert step == "nothing: migrate-consumer tries it again then"


def test_a_list_is_in_the_hands_of_a_pass(site: Site) -> None:
    site.faults('[[fault]]\nmatch = "POST /jobs"\nop = "silent"\nseconds = 30\n')
    with begun(site, "migrate-consumer") as busy:
        wait_until(lambda: site.sql("SELECT 1 FROM ftsjob WHERE state = 'intent'"), 60, "the intent is booked")
        said, step = why(site)
        busy.kill()
    assert f"migrate-consumer, pid {busy.pid} on " in said
    assert "works on it now" in said
    assert step.startswith("wait: ")


def test_what_is_not_there_has_near_names(site: Site) -> None:
    site.consume()
    assert "near: /run/1" in run("dm-trace", "/run/11", home=site.home).gave(1).err
    found: Result = site.run("dm-trace", "un/1").ok()
    assert "migrate file /run/1: " in found.out
