"""dqm in one executable and in an RPM: started with an empty environment, installed below a prefix, erased again."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dqm import packed
from tests.dqm.packed import PACKAGING, bare, deploy
from tests.support import ROOT, Server, run, wait_until

SERVICES = ("robber", "robber_oldruns", "parser", "server")
LINKS = ("dqm-robber", "dqm-parser", "dqm-server", "dqm-cfg", "dm-config", "dm-command", "dm-monitoring", "dm-train-ok", "dm-db")


@pytest.fixture(scope="session")
def program() -> Path:
    return packed.made("rpm" if shutil.which("rpmbuild") else "build") / "dmtools-dqm"


@pytest.fixture(scope="session")
def package(program: Path) -> Path:
    return next(packed.made("rpm").glob("dmtools-dqm-*.rpm"))


def unit(path: Path) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(path.read_text())
    return found


# ---- one executable ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_with_an_empty_environment_it_helps_tells_its_version_and_all_its_words_start(program: Path) -> None:
    helped = bare(program).ok().out
    assert all(name in helped for name in (*SERVICES, "cfg", "Example", "Cron"))
    assert bare(program, "--version").ok().out == run("dm-config", "--version").ok().out
    assert "Usage: dmtools-dqm robber_oldruns" in bare(program, "robber_oldruns", "--help").ok().out
    assert "Usage: dmtools-dqm server" in bare(program, "server", "--help").ok().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("parsr",), "there is no 'parsr'; nothing was done; there are: robber, robber_oldruns, parser"),
        (
            ("service", "parsr"),
            "there is no service 'parsr'; nothing was done; there are: robber, robber_oldruns, parser, server",
        ),
        (("-c", "print(1)"), "there is no '-c'"),
        (("-m", "http.server"), "there is no '-m'"),
    ],
)
def test_line_13_a_word_or_service_that_is_none_ends_with_2_and_names_those_that_are(
    program: Path, words: tuple[str, ...], said: str
) -> None:
    refused = bare(program, *words).gave(2)
    assert said in refused.err
    assert refused.out == ""


@pytest.mark.slow
def test_line_13_a_service_without_its_settings_file_makes_none_up(program: Path, tmp_path: Path) -> None:
    assert "no settings file" in bare(program, "service", "parser", env={"DMTOOLS_HOME": str(tmp_path)}).gave(2).err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.needs("browser")
def test_a_grab_a_parse_and_a_page_by_the_executable_alone(
    program: Path, home: Path, sim: Callable[..., Server], short_tmp: Path
) -> None:
    """A real browser, the templates, the tables: all that it needs of dmtools is inside."""
    sim(home, "dqm", "--seed", 7)
    (short_tmp / "unpacked").mkdir()
    bare_env = {"TMPDIR": str(short_tmp / "unpacked")}
    bare(program, "robber", "--home", home, "--site", "production", env=bare_env).ok()
    bare(program, "parser", "--home", home, "--site", "production", env=bare_env).ok()
    log = short_tmp / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen([program, "server", "--home", home, "--port", "0"], env=bare_env, stdout=out, stderr=out)
    try:
        wait_until(lambda: "listening on" in log.read_text(), what="the server listens")
        url = log.read_text().partition("listening on ")[2].split()[0].rstrip("/")
        assert served(f"{url}/healthz")
        assert b"<html" in served(url)
        page = next((home / "dqm/public/production/live").iterdir()) / "page.json"
        assert b'"run":' in page.read_bytes()
    finally:
        server.terminate()
        server.wait(30)
    assert list((short_tmp / "unpacked").iterdir()) == []


def served(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return bytes(answer.read())


@pytest.mark.slow
def test_what_a_sigkill_leaves_of_it_ends_and_is_removed_by_the_next_start(program: Path, home: Path, short_tmp: Path) -> None:
    """The half that unpacks is killed, then both; what is in use, and what has no lock of ours, stays."""
    env = {"TMPDIR": str(short_tmp), "DMTOOLS_HOME": str(home)}
    (short_tmp / "_MEIsomebodys").mkdir()

    def begun() -> tuple[subprocess.Popen[bytes], int, Path]:
        process = subprocess.Popen([program, "server", "--port", "0"], env=env, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert b"listening on" in process.stdout.readline()
        process.stdout.close()
        child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        place = next(path for path in short_tmp.glob("_MEI*/dmtools-dqm.lock") if holds(child, path)).parent
        return process, child, place

    living, _, in_use = begun()
    killed, child, left = begun()
    killed.kill()
    killed.wait()
    wait_until(lambda: not Path(f"/proc/{child}").exists(), what="its other half ends, too")
    assert left.exists()
    bare(program, "--version", env=env).ok()
    assert {path.name for path in short_tmp.glob("_MEI*")} == {"_MEIsomebodys", in_use.name}
    living.terminate()
    living.wait(30)
    assert {path.name for path in short_tmp.glob("_MEI*")} == {"_MEIsomebodys"}


def holds(pid: int, path: Path) -> bool:
    handles = Path(f"/proc/{pid}/fd")
    return any(os.path.realpath(handle) == str(path.resolve()) for handle in handles.iterdir())


# ---- deploy.sh -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "write deploy.sh build"), (("bild",), "there is no 'bild'"), (("build", "--dist"), "--dist wants a directory")],
)
def test_deploy_says_what_it_takes(words: tuple[str, ...], said: str) -> None:
    refused = deploy(*words)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err


def test_deploy_names_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    """On a machine with a shell and the coreutils alone, in a checkout where dm-setup never ran, then in this one."""
    checkout = tmp_path / "packaging/dqm"
    checkout.mkdir(parents=True)
    (checkout / "deploy.sh").write_bytes((PACKAGING / "deploy.sh").read_bytes())
    alone = bare("/bin/sh", checkout / "deploy.sh", "build", env={"PATH": os.defpath})
    assert (alone.code, alone.out) == (75, "")
    assert "make it with: bin/dm-setup --tests" in alone.err
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "readlink", "mkdir", "pwd"):
        (tools / name).symlink_to(f"/bin/{name}")
    no_rpm = deploy("rpm", "--dist", tmp_path / "d", "--build", tmp_path / "b", env={"PATH": str(tools)})
    assert (no_rpm.code, no_rpm.out) == (75, "")
    assert "rpmbuild is missing; nothing was made; get it with: apt-get install rpm" in no_rpm.err


# ---- the RPM -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.needs("rpm", "root")
def test_line_13_the_rpm_lies_below_its_prefix_with_log_tmp_and_settings_and_goes_again(package: Path, short_tmp: Path) -> None:
    with packed.installed(package, short_tmp) as place:
        files = place.files()
        wanted = {"bin/dmtools-dqm", "systemd/dmtools-dqm@.service", "share/dqm.md", "share/LICENSE", "home/dmtools.toml"}
        wanted |= {f"bin/{name}" for name in LINKS} | {
            f"home/{name}" for name in ("log", "tmp", "run", "secrets", "dqm/raw", "dqm/public")
        }
        assert wanted <= files
        assert {name for name in files if (place.prefix / name).is_file()} <= wanted
        assert not Path("/etc/systemd/system/dmtools-dqm@.service").is_symlink()
        home = place.prefix / "home"
        assert ((home / "dmtools.toml").stat().st_mode & 0o777, home.stat().st_mode & 0o777) == (0o640, 0o750)
        file = place.prefix / "systemd/dmtools-dqm@.service"
        assert "/opt/dmtools-dqm" not in file.read_text().replace(str(place.prefix), "")
        for name in SERVICES:
            instance = file.with_name(f"dmtools-dqm@{name}.service")
            instance.symlink_to(file)
            proved = subprocess.run(["systemd-analyze", "verify", "--man=no", instance], capture_output=True, text=True)
            instance.unlink()
            assert (proved.returncode, proved.stderr) == (0, "")
        assert "sites = " in bare(place.prefix / "bin/dqm-cfg", env={"DMTOOLS_HOME": str(home)}).out
        bare(place.prefix / "bin/dmtools-dqm", "service", "nobody", env={"DMTOOLS_HOME": str(home)}).gave(2)
        (home / "dqm/raw/kept").write_text("data")
        (home / "dmtools.toml").write_text((home / "dmtools.toml").read_text() + '\ndqm.browser = "firefox"\n')
        place.rpm("-e", "dmtools-dqm")
        assert place.files() <= {"home", "home/dqm", "home/dqm/raw", "home/dqm/raw/kept", "home/dmtools.toml.rpmsave"}
        assert (home / "dqm/raw/kept").exists()


SYSTEMD = """\
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
mount --bind {etc} /etc
mount --bind {stub} /usr/bin/systemctl
"""


@pytest.mark.slow
@pytest.mark.needs("rpm", "root")
def test_the_rpm_tells_systemd_and_stops_its_services_when_it_is_erased(package: Path, short_tmp: Path) -> None:
    """Under a systemctl that writes down what it is asked, and a copy of /etc: the machine's own is not touched."""
    said, stub, etc = short_tmp / "said", short_tmp / "systemctl", short_tmp / "etc"
    stub.write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
    stub.chmod(0o755)
    subprocess.run(["cp", "-a", "/etc", etc], check=True)
    around = SYSTEMD.format(etc=etc, stub=stub)
    link = etc / "systemd/system/dmtools-dqm@.service"
    with packed.installed(package, short_tmp, around) as place:
        assert said.read_text() == "daemon-reload\n"
        assert link.readlink() == place.prefix / "systemd/dmtools-dqm@.service"
        user = next(line.split(":") for line in (etc / "passwd").read_text().splitlines() if line.startswith("dmtools-dqm:"))
        home = place.prefix / "home"
        mine = [path for path in (home, *home.rglob("*")) if path.stat().st_uid == int(user[2])]
        assert {path.name for path in mine} == {"home", "log", "tmp", "run", "secrets", "dqm", "raw", "public"}
        assert (home / "dmtools.toml").stat().st_gid == int(user[3])
        bare(place.prefix / "bin/dqm-cfg", "--home", home, "--set", "browser=firefox").ok()  # by root
        assert ((home / "dmtools.toml").stat().st_gid, (home / "dmtools.toml").stat().st_mode & 0o777) == (int(user[3]), 0o640)
        place.rpm("-e", "dmtools-dqm", around=around)
    lines = said.read_text().splitlines()[1:]
    assert lines[:4] == [f"--no-reload disable --now dmtools-dqm@{name}.service" for name in SERVICES]
    assert lines[4:] == ["stop dmtools-dqm@*.service", "daemon-reload"]
    assert not link.is_symlink()
    link.write_text("[Service]\n")  # somebody's own, of the same name
    with packed.installed(package, short_tmp / "again", around) as place:
        place.rpm("-e", "dmtools-dqm", around=around)
    assert link.read_text() == "[Service]\n"
    assert not Path("/etc/systemd/system/dmtools-dqm@.service").exists()


# ---- the units -----------------------------------------------------------------------------------------------------------


def test_line_13_an_unknown_instance_fails_once_and_stays_down_and_all_have_limits() -> None:
    """2 is what wrong use gives; systemd starts again whatever ends otherwise."""
    service = unit(PACKAGING / "dmtools-dqm@.service")["Service"]
    assert service["ExecStart"] == "/opt/dmtools-dqm/bin/dmtools-dqm service %i $DQM_OPTIONS"
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("always", "2")
    assert service["User"] == "dmtools-dqm"
    assert service["KillMode"] == "mixed"
    assert {"MemoryMax", "TasksMax", "LimitNOFILE", "TimeoutStopSec", "ProtectSystem", "NoNewPrivileges"} <= set(service)
    # What a browser can't live with.
    assert not {"MemoryDenyWriteExecute", "RestrictNamespaces", "PrivateNetwork", "SystemCallFilter"} & set(service)
    assert "network.target" in unit(PACKAGING / "dmtools-dqm@.service")["Unit"]["After"]


@pytest.mark.needs("rpm")
def test_the_units_of_a_checkout_run_its_commands(tmp_path: Path) -> None:
    files = list((PACKAGING / "checkout").iterdir())
    assert {file.stem for file in files} == {"dqm-parser", "dqm-robber", "dqm-robber-oldruns", "dqm-server"}
    for file in files:
        (tmp_path / file.name).write_text(file.read_text().replace("/opt/dmtools/.venv", str(ROOT / ".venv")))
    proved = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--user", *tmp_path.iterdir()],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert (proved.returncode, proved.stderr) == (0, "")
