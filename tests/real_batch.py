"""Real batch systems for tests, each private to its worker and without systemd: Slurm, HTCondor. They end with the session."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.real_components import SBIN, as_user
from tests.support import ROOT, TEST_MARK, environment, free_port, wait_until

_SLURM = """\
ClusterName=t
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ctld_port}
SlurmdPort={d_port}
AuthType=auth/munge
AuthInfo=socket={place}/munge/socket
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MessageTimeout=5
KillWait=1
MailProg=/bin/true
SchedulerParameters=sched_min_interval=0,bf_interval=1
JobAcctGatherType=jobacct_gather/none
{more}
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

_SLURMDBD = """\
AuthType=auth/munge
AuthInfo=socket={place}/munge/socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
LogFile={place}/slurmdbd.log
PidFile={place}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass=pw
StorageLoc=slurm_acct
"""


def _said(argv: Sequence[str], env: dict[str, str]) -> str:
    plain = {name: value for name, value in environment(extra=env).items() if not name.startswith("SQUEUE_")}
    return subprocess.run(argv, env=plain, capture_output=True, text=True, check=True, timeout=90).stdout


@dataclass
class Slurm:
    """A private Slurm of one node with four cores; its commands work with `environment` ($SLURM_CONF)."""

    place: Path
    more: str = "AccountingStorageType=accounting_storage/none"
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.place / "slurm.conf")}

    @property
    def host(self) -> str:
        return socket.gethostname().partition(".")[0]

    def prepare(self) -> Slurm:
        """Its directories, a key for munge, and slurm.conf."""
        munge = self.place / "munge"
        for directory in (munge, self.place / "state", self.place / "spool"):
            directory.mkdir(mode=0o755)
        (munge / "key").write_bytes(os.urandom(1024))
        (munge / "key").chmod(0o400)
        subprocess.run(["chown", "-R", as_user("munge", "nobody")[1].partition("=")[2], munge], check=True)
        ports = {"ctld_port": free_port(), "d_port": free_port()}
        (self.place / "slurm.conf").write_text(_SLURM.format(host=self.host, place=self.place, more=self.more, **ports))
        return self

    def account(self, database_port: int) -> Slurm:
        """Gives it a slurmdbd on the MariaDB at this port of 127.0.0.1, as its user slurm with the password pw."""
        port = free_port()
        text = _SLURMDBD.format(host=self.host, place=self.place, port=port, database_port=database_port)
        (self.place / "slurmdbd.conf").write_text(text)
        (self.place / "slurmdbd.conf").chmod(0o600)
        self.more = "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\n"
        self.more += f"AccountingStoragePort={port}\nAccountingStoragePass={self.place}/munge/socket\nMinJobAge=2"
        return self

    def start(self) -> Slurm:
        """Starts what doesn't run of munged, slurmctld and slurmd, and waits until jobs may be submitted."""
        munge = self.place / "munge"
        options = [f"--socket={munge}/socket", f"--key-file={munge}/key", f"--log-file={munge}/log"]
        options += [f"--pid-file={munge}/pid", f"--seed-file={munge}/seed"]
        self._start("munged", [*as_user("munge", "nobody"), "munged", "-F", *options])
        wait_until((munge / "socket").exists, 10, f"munged listens; its log is {munge}/log")
        if (self.place / "slurmdbd.conf").exists():
            self._start("slurmdbd", ["slurmdbd", "-D"])
            wait_until(self._has_accounting, 30, f"slurmdbd answers; its log is {self.place}/slurmdbd.log")
        self._start("slurmctld", ["slurmctld", "-D"])
        self._start("slurmd", ["slurmd", "-D"])
        wait_until(self._is_idle, 30, f"the node is idle; the logs are in {self.place}")
        return self

    def stop(self, *names: str) -> None:
        """Stops these daemons; with no name all. Jobs go on when only slurmctld stops."""
        for name in names or ("slurmd", "slurmctld", "slurmdbd", "munged"):
            if daemon := self.daemons.pop(name, None):
                daemon.terminate()
                try:
                    daemon.wait(20)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()

    def clear(self) -> None:
        """Makes the stopped slurmctld and slurmd forget all jobs."""
        for name in ("state", "spool"):
            shutil.rmtree(self.place / name)
            (self.place / name).mkdir()

    def ask(self, *argv: str) -> str:
        """What a command of Slurm says; it must succeed."""
        return _said(argv, self.environment)

    def _start(self, name: str, argv: list[str]) -> None:
        if name not in self.daemons:
            with (self.place / f"{name}.out").open("ab") as out:
                env = environment(extra={**SBIN, **self.environment})
                env.pop(TEST_MARK, None)  # it may outlive the test
                self.daemons[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)

    def _has_accounting(self) -> bool:
        asked = ["sacctmgr", "-n", "show", "stats"]
        return subprocess.run(asked, env=environment(extra=self.environment), capture_output=True).returncode == 0

    def _is_idle(self) -> bool:
        for name, daemon in self.daemons.items():
            if daemon.poll() is not None:
                said = (self.place / f"{name}.out").read_text(errors="replace")
                pytest.fail(f"{name} ended: {said[-2000:]}")
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment(extra=self.environment), capture_output=True)
        return done.stdout.strip() in (b"idle", b"mixed", b"allocated")


@pytest.fixture(scope="session")
def _slurm_shared() -> Iterator[Slurm]:
    place = Path(tempfile.mkdtemp(prefix="dms-", dir="/tmp"))
    place.chmod(0o755)
    cluster = Slurm(place).prepare()
    yield cluster
    cluster.stop()
    shutil.rmtree(place)


@pytest.fixture
def slurm(_slurm_shared: Slurm) -> Iterator[Slurm]:
    """A private Slurm that this worker's tests share; a test may stop it: the next one starts what is missing."""
    yield _slurm_shared.start()
    user = f"--user={os.geteuid()}"
    _slurm_shared.start().ask("scancel", user)
    wait_until(lambda: not _slurm_shared.ask("squeue", "-h", user), 30, "no job is left")


# ---- HTCondor --------------------------------------------------------------------------------------------------------

_CONDOR = """\
include : /etc/condor/condor_config
LOCAL_CONFIG_DIR =
LOCAL_DIR = {place}
LOG = {place}/log
SPOOL = {place}/spool
EXECUTE = {place}/execute
LOCK = {place}/lock
RUN = {place}/run
DAEMON_LIST = MASTER, COLLECTOR, NEGOTIATOR, SCHEDD, STARTD
CONDOR_HOST = 127.0.0.1
COLLECTOR_HOST = 127.0.0.1:{port}
SHARED_PORT_PORT = {port}
BIND_ALL_INTERFACES = False
NETWORK_INTERFACE = 127.0.0.1
use security:user_based
USER_JOB_WRAPPER = {place}/in-the-machine
MAIL = /bin/true
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_CYCLE_DELAY = 1
NEGOTIATOR_MIN_INTERVAL = 1
SCHEDD_INTERVAL = 2
SCHEDD_MIN_INTERVAL = 1
PERIODIC_EXPR_INTERVAL = 1
UPDATE_INTERVAL = 5
NUM_CPUS = 4
MEMORY = 16000
RUNBENCHMARKS = False
MOUNT_UNDER_SCRATCH =
"""
# The tree becomes the root of a mount namespace; the machine's own stays in it at /mnt. Then the root of the machine calls
# itself 12345, and HTCondor, which runs nothing as root, is the personal one of that user: all files are root's outside.
_CONDOR_UP = """\
set -e
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
for each in sys dev tmp; do mount --rbind "/$each" "$1/$each"; done
cd "$1"
pivot_root . mnt
cd /
exec unshare --user --map-user=12345 --map-group=12345 /usr/sbin/condor_master -f
"""
_CONDOR_JOB = """\
#!/bin/sh
exec unshare --user --map-user=12345 --map-group=12345 --root=/mnt --wd="$PWD" "$@"
"""
_CONDOR_COMMAND = """\
#!/bin/sh
export CONDOR_CONFIG={place}/config
exec nsenter --target={pid} --mount --user --preserve-credentials --wdns=/tmp /usr/bin/{name} "$@"
"""


def _debian_mirror() -> str:
    """Where this machine gets Debian from."""
    asked = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"]
    lines = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [line.split()[2] for line in lines if line.startswith("Debian Debian ")]
    return found[0] if found else "http://deb.debian.org/debian"


def _condor_tree() -> Path:
    """A tree of Debian 13 with HTCondor below .venv, made once: half a minute to two, 310 MB."""
    tree = ROOT / ".venv/htcondor"
    with (ROOT / ".venv/.htcondor.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if tree.exists():
            return tree
        made = tree.with_name(".htcondor.part")
        shutil.rmtree(made, ignore_errors=True)
        what = ["--variant=apt", "--include=ca-certificates,minicondor", "trixie", str(made), _debian_mirror()]
        done = subprocess.run(["mmdebstrap", *what], capture_output=True, text=True)
        assert done.returncode == 0, f"no HTCondor from Debian 13: {done.stderr[-2000:]}"
        subprocess.run(["chroot", made, "/usr/sbin/useradd", "-u", "12345", "-d", "/tmp", "tester"], check=True)
        made.rename(tree)
    return tree


@dataclass
class HTCondor:
    """A private HTCondor of one node with four cores; its commands are in `environment`'s $PATH. Works below /tmp only."""

    place: Path
    tree: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.place}/bin:{os.environ.get('PATH', os.defpath)}"}

    def prepare(self) -> HTCondor:
        """Its directories and its settings."""
        for name in ("log", "spool", "execute", "lock", "run", "bin"):
            (self.place / name).mkdir()
        (self.place / "config").write_text(_CONDOR.format(place=self.place, port=free_port()))
        self._program("in-the-machine", _CONDOR_JOB)
        return self

    def start(self) -> HTCondor:
        """Starts it, if it doesn't run, and waits until its node takes jobs."""
        if self.process is None:
            up = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private"]
            env = environment(extra={**SBIN, "CONDOR_CONFIG": f"{self.place}/config"})
            env.pop(TEST_MARK, None)  # it may outlive the test
            with (self.place / "out").open("ab") as out:
                argv = [*up, "sh", "-c", _CONDOR_UP, "up", str(self.tree)]
                self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)
            wait_until(self._is_ready, 60, f"HTCondor has a slot; its logs are in {self.place}/log")
        return self

    def stop(self) -> None:
        """Stops it with all its jobs; what stands in its queue stays."""
        if self.process is not None:
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended by itself
                os.kill(self._master(), signal.SIGQUIT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()  # and with it all that it started
                self.process.wait()
            self.process = None

    def ask(self, *argv: str) -> str:
        """What a command of HTCondor says; it must succeed."""
        return _said(argv, self.environment)

    def _master(self) -> int:
        assert self.process is not None
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    def _is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"HTCondor ended: {(self.place / 'out').read_text(errors='replace')[-2000:]}")
        try:
            for name in ("condor_submit", "condor_q", "condor_rm", "condor_history", "condor_status", "condor_hold"):
                self._program(f"bin/{name}", _CONDOR_COMMAND.format(place=self.place, pid=self._master(), name=name))
            return bool(self.ask("condor_status", "-af", "Name").strip())
        except (subprocess.CalledProcessError, IndexError):
            return False

    def _program(self, name: str, text: str) -> None:
        (self.place / name).write_text(text)
        (self.place / name).chmod(0o755)


@pytest.fixture(scope="session")
def _htcondor_shared() -> Iterator[HTCondor]:
    place = Path(tempfile.mkdtemp(prefix="dmh-", dir="/tmp"))
    place.chmod(0o755)
    pool = HTCondor(place, _condor_tree()).prepare()
    yield pool
    pool.stop()
    shutil.rmtree(place)


@pytest.fixture
def htcondor(_htcondor_shared: HTCondor) -> Iterator[HTCondor]:
    """A private HTCondor that this worker's tests share; a test may stop it: the next one starts it again."""
    yield _htcondor_shared.start()
    _htcondor_shared.start()
    subprocess.run(["condor_rm", "-all"], env=environment(extra=_htcondor_shared.environment), capture_output=True)
