"""dm-crontab against the machine's own `crontab`, on a spool of the test's own; one tick of a real cron."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.control import crontabs
from tests.support import ROOT, Result, environment, run, wait_until

pytestmark = pytest.mark.needs("cron", "root")
SPOOL = "/var/spool/cron/crontabs"
MINE = b'# mine \xff\r\nMAILTO=""\n\n5 4 * * *  true \\% x%in\n'
IN_SPOOL = 'mount --bind "$0" /var/spool/cron/crontabs && exec "$@"'


class Cron:
    """dm-crontab and crontab in a mount namespace whose spool is the test's own."""

    def __init__(self, home: Path, place: Path) -> None:
        self.home, self.spool = home, place / "spool"
        self.spool.mkdir()
        self.spool.chmod(0o1730)

    @property
    def prefix(self) -> tuple[object, ...]:
        return ("unshare", "-m", "--propagation", "private", "sh", "-c", IN_SPOOL, self.spool)

    def __call__(self, *words: object, **options: Any) -> Result:
        return run("dm-crontab", *words, home=options.pop("home", self.home), prefix=self.prefix, **options)

    def crontab(self, *words: str, stdin: bytes = b"") -> bytes:
        done = subprocess.run([*map(str, self.prefix), "crontab", *words], input=stdin, capture_output=True)
        return done.stdout

    def write(self, text: bytes) -> None:
        self.crontab("-", stdin=text)
        assert self.text == text

    @property
    def text(self) -> bytes:
        """From the spool, without the head that crontab puts there."""
        path = self.spool / "root"
        return b"".join(path.read_bytes().splitlines(keepends=True)[3:]) if path.exists() else b""


@pytest.fixture
def cron(home: Path, short_tmp: Path) -> Cron:
    return Cron(home, short_tmp)


def lines(text: bytes) -> list[str]:
    return [line for line in text.decode("utf-8", "replace").splitlines() if re.match(r"[\d*@]", line)]


def test_show_prints_the_lines_of_the_template_with_the_right_paths(cron: Cron) -> None:
    shown = cron("show", "migrate").ok().out
    whole = cron().ok().out
    assert cron("show").ok().out == whole
    assert shown in whole
    assert cron.text == b""
    template = lines((ROOT / "cron/migrate.crontab").read_bytes())
    assert len(template) == 3
    for ours, theirs in zip(lines(shown.encode()), template, strict=True):
        assert ours.split()[:5] == theirs.split()[:5]
        command = theirs.rpartition('.lock" ')[2]
        name = command.split()[0]
        bin_ = Path(sys.executable).parent
        env = f"/usr/bin/env PATH={bin_}:/usr/local/bin:/usr/bin:/bin DMTOOLS_HOME={cron.home}"
        assert ours.endswith(f"{env} /usr/bin/flock -n -E 0 {cron.home}/run/{name}.lock {bin_}/{command}")


def test_install_leaves_the_rest_byte_for_byte_and_remove_brings_it_back(cron: Cron) -> None:
    cron.write(MINE)
    assert "install migrate" in cron("install", "migrate", "--dry-run").ok().out
    assert cron.text == MINE
    done = cron("install", "migrate", "--json").ok().json
    assert done["changed"] is True
    assert len(done["pipelines"]["migrate"]["lines"]) == 3
    assert cron.text.startswith(MINE)
    assert cron.text[len(MINE) :].decode() == cron("show", "migrate").ok().out
    cron("check", "migrate").ok()
    once = cron.text
    assert "nothing to install" in cron("install", "migrate").ok().out
    assert cron.text == once
    more = once + b"# after\n9 9 * * * false\n"
    cron.write(more)
    cron("install", "migrate", "--every", "10m").ok()
    assert cron.text.startswith(MINE)
    assert cron.text.endswith(b"# after\n9 9 * * * false\n")
    assert [line.split(" ")[0] for line in lines(cron.text)] == ["5", "*/10", "*/10", "*/10", "9"]
    cron("check", "migrate").ok()
    assert cron("remove", "--json").ok().json["changed"] is True
    assert cron.text == MINE + b"# after\n9 9 * * * false\n"
    assert "nothing to remove" in cron("remove").ok().out


def test_without_a_name_it_is_all_pipelines_and_what_is_nightly_stays_so(cron: Cron) -> None:
    cron("install", "--every", "10m").ok()
    found = {re.sub(r".* \S*/([a-z]+-)", r"\1", line): line.split()[:2] for line in lines(cron.text)}
    assert {found[name][0] for name in ("migrate-monitor", "daq-archive", "lta-glue")} == {"*/10"}
    assert found["daq-audit --seconds 18000"] == ["30", "1"]  # nightly stays nightly
    assert found["lta-audit"] == ["30", "2"]
    assert found["dqm-parser --loop"] == ["*", "*"]  # it goes on: cron only starts it again
    many = len(found)
    cron("check").ok()
    cron("remove", "daq").ok()
    assert len(lines(cron.text)) == many - 3
    assert "not installed: daq" in cron("check").gave(1).err


def test_an_empty_crontab_is_empty_again(cron: Cron) -> None:
    cron("install", "migrate").ok()
    assert len(lines(cron.text)) == 3
    cron("remove", "migrate").ok()
    assert cron.text == b""
    assert list(cron.spool.iterdir()) == []


def test_check_says_what_differs(cron: Cron) -> None:
    assert "not installed: migrate" in cron("check", "migrate").gave(1).err
    cron("install", "migrate").ok()
    changed = cron.text.replace(b"0 */2", b"1 */2", 1).replace(b"30 */2", b"#30 */2")
    cron.write(changed + b"* * * * * cd /x; /opt/bin/migrate-monitor>/dev/null\n")
    found = cron("check", "migrate", "--json").gave(1)
    said = [error["why"] for error in found.json["errors"]]
    assert any("has: 1 */2" in why for why in said)
    assert any("lacks: 0 */2" in why for why in said)
    assert any("lacks: 30 */2" in why for why in said)
    assert "runs it outside of our block" in said[-1]
    assert "dm-crontab install migrate" in found.err
    again = cron("install", "migrate").ok()
    assert "runs migrate-monitor, too" in again.err
    assert "differs" not in cron("check", "migrate").gave(1).err


def test_two_homes_share_a_crontab(cron: Cron, tmp_path: Path) -> None:
    other = tmp_path / "b 100% 'x'"
    run("dm-config", "init", other).ok()
    cron("install", "migrate").ok()
    cron("install", "migrate", home=other).ok()
    text = cron.text
    cron("check", "migrate").ok()
    cron("check", "migrate", home=other).ok()
    command = lines(text)[-1].partition("/usr/bin/env")[2]
    assert "100\\%" in command
    assert not re.search(r"(?<!\\)%", command)
    cron("remove").ok()
    assert len(lines(cron.text)) == 3
    cron("check", "migrate", home=other).ok()


def test_a_line_does_its_work_whatever_the_path_of_home(cron: Cron, tmp_path: Path) -> None:
    other = tmp_path / "b 100% 'x' \"q\" $(false) ü"
    run("dm-config", "init", other).ok()
    (line,) = [line for line in lines(cron("show", "migrate", home=other).ok().out.encode()) if "migrate-monitor" in line]
    command = line.split(" ", 5)[5].replace("\\%", "%")
    done = subprocess.run(["/bin/sh", "-c", command], env={"PATH": "/nowhere"}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (other / "run/migrate-monitor.lock").exists()
    with sqlite3.connect(other / "dmtools.db") as raw:
        assert raw.execute("SELECT name, state FROM component").fetchall() == [("monitor", "idle")]


@pytest.mark.parametrize("lost", [b"BEGIN", b"END"])
def test_damaged_marks_change_nothing(cron: Cron, lost: bytes) -> None:
    cron.write(MINE)
    cron("install", "migrate").ok()
    broken = b"".join(line for line in cron.text.splitlines(keepends=True) if b"# " + lost not in line)
    cron.write(broken)
    for action in ("install", "remove", "check"):
        assert "mark" in cron(action).gave(2).err
    assert cron.text == broken


def test_a_crontab_that_cron_refuses_is_left_as_it_is(cron: Cron) -> None:
    """Somebody wrote into the spool by hand."""
    (cron.spool / "root").write_bytes(b"61 * * * * true\n")
    (cron.spool / "root").chmod(0o600)
    found = cron("install", "migrate").gave(2)
    assert "cron would refuse" in found.err
    assert "bad minute" in found.err
    assert (cron.spool / "root").read_bytes() == b"61 * * * * true\n"
    assert "bad minute" in cron("check", "migrate").gave(1).err


def test_somebody_elses_crontab(cron: Cron, home: Path) -> None:
    found = cron("install", "migrate", "-u", "nobody").gave(2)
    assert f"HOME {home} belongs to root, and these lines would run as nobody" in found.err
    assert cron.crontab("-u", "nobody", "-l") == b""
    cron("install", "migrate", "--user", "root").ok()
    assert "no user 'nosuch'" in cron("check", "migrate", "-u", "nosuch").gave(2).err


def test_who_is_not_root_may_not_touch_it() -> None:
    code = """import os, sys
from dmtools.control.crontab_of import CrontabOf
os.setgid(65534)
os.setuid(65534)
print(CrontabOf(sys.argv[1]).user)"""
    argv = [sys.executable, "-c", code]
    other = subprocess.run([*argv, "root"], env=environment(), capture_output=True, text=True, cwd=ROOT)
    assert "Refused: the crontab of root belongs to somebody else; only root may touch it" in other.stderr
    mine = subprocess.run([*argv, "nobody"], env=environment(), capture_output=True, text=True, cwd=ROOT)
    assert mine.stdout == "nobody\n", mine.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("instal",), "did you mean 'install'"),
        (("show", "migrat"), "did you mean 'migrate'"),
        (("remove", "migrat"), "did you mean 'migrate'"),
        (("show", "--every", "7m"), "cron can't start a command every 7m"),
        (("show", "--every", "90m"), "it can every: 1m"),
        (("show", "--every", "10 s"), "can't start"),
        (("show", "--every", "0"), "can't start"),
        (("show", "--every", "often"), "no length of time"),
        (("remove", "--every", "10m"), "--every belongs to show and install"),
    ],
)
def test_what_makes_no_sense_is_refused(cron: Cron, words: tuple[str, ...], said: str) -> None:
    assert said in cron(*words).gave(2).err
    assert cron.text == b""


def test_a_machine_without_cron_can_show_and_nothing_more(home: Path, tmp_path: Path) -> None:
    for name in ("flock", "env"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    env = {"PATH": str(tmp_path)}
    run("dm-crontab", "show", home=home, env=env).ok()
    assert "no command crontab" in run("dm-crontab", "install", home=home, env=env).gave(75).err


def test_what_cron_will_not_have_is_told(cron: Cron, home: Path) -> None:
    cron("install", "migrate").ok()
    env = {"DMTOOLS_DATABASE_URL": f"sqlite:///{home}/dmtools.db"}
    assert "$DMTOOLS_DATABASE_URL" in cron("check", "migrate", env=env).gave(1).err


def test_settings_elsewhere_come_with_the_line(cron: Cron, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text(f'home = "{home}"\n')
    (line, *_) = lines(cron("show", "migrate", "--config", file, home=None).ok().out.encode())
    assert f"DMTOOLS_HOME={home} DMTOOLS_CONFIG={file} " in line


def test_a_third_partys_pipeline(tiny: Callable[..., Result], home: Path, short_tmp: Path) -> None:
    register = short_tmp / "lib/tiny/register.py"
    text = register.read_text()
    command = short_tmp / "tiny-work"
    command.chmod(0o755)
    env = {"PATH": f"{short_tmp}:{os.environ['PATH']}"}
    assert "no command that cron should start" in tiny("show", "tiny", name="dm-crontab").gave(2).err
    register.write_text(text.replace('Component("work", "works")', 'Component("work", "works", "@daily", "--units 2")'))
    shown = tiny("show", "tiny", name="dm-crontab", env=env).ok().out
    assert "\n@daily /usr/bin/env PATH=" in shown
    assert f"{command} --units 2\n" in shown
    register.write_text(text.replace('Component("work", "works")', 'Component("work", "works", "61 * * * *")'))
    assert "which cron would refuse" in tiny("show", "tiny", name="dm-crontab", env=env).gave(2).err


TEXTS = st.lists(st.sampled_from(["a\n", "\x0b\x1c\u2028\n", "\udcff\r\n", "# BEGIN dmtools x of /h2\n", "\n", "* * * * * x\n"]))


@given(TEXTS, TEXTS)
def test_what_is_around_a_block_never_changes(before: list[str], after: list[str]) -> None:
    home, head, tail = Path("/h"), "".join(before), "".join(after)
    block = "# BEGIN dmtools p every 5m of /h\nx\n# END dmtools p of /h\n"
    text = head + block + tail
    (found,) = crontabs.blocks(text, home)
    assert (found.pipeline, found.every, found.text) == ("p", "5m", block)
    assert crontabs.put(text, home, "p", "new\n") == head + "new\n" + tail
    assert crontabs.put(text, home, "p", "") == head + tail
    assert crontabs.put(head, home, "p", block) == head + block


@pytest.mark.slow
def test_one_tick_of_a_real_cron(cron: Cron, home: Path, short_tmp: Path) -> None:
    cron("install", "migrate", "--every", "1m").ok()
    for name in ("cron.d", "run"):
        (short_tmp / name).mkdir()
    (short_tmp / "empty").touch()
    script = f"""mount --bind {short_tmp}/cron.d /etc/cron.d && mount --bind {short_tmp}/empty /etc/crontab &&
        mount -t tmpfs tmpfs /run && exec cron -f -L 15"""
    argv = [*map(str, cron.prefix), "sh", "-c", script]
    with subprocess.Popen(argv, env=environment(extra={"PATH": f"{os.environ['PATH']}:/usr/sbin"})) as daemon:
        try:
            wait_until(lambda: len(states(home)) == 3, 110, "cron started the three commands")
        finally:
            daemon.send_signal(signal.SIGTERM)
    wait_until(lambda: "running" not in states(home).values(), 60, "the passes end")
    assert states(home) == {"producer": "idle", "consumer": "idle", "monitor": "idle"}
    assert sorted(path.name for path in (home / "run").glob("migrate-*.lock")) == [
        f"migrate-{name}.lock" for name in ("consumer", "monitor", "producer")
    ]


def states(home: Path) -> dict[str, str]:
    with sqlite3.connect(home / "dmtools.db", timeout=30) as raw:
        return dict(raw.execute("SELECT name, state FROM component").fetchall())
