"""Real batch systems for tests, each private to its worker and without systemd: Slurm, HTCondor. They end with the session."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.real_components import SBIN, as_user
from tests.support import TEST_MARK, environment, free_port, wait_until

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


@dataclass
class Slurm:
    """A private Slurm of one node with four cores; its commands work with `environment` ($SLURM_CONF)."""

    place: Path
    more: str = "AccountingStorageType=accounting_storage/none"
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.place / "slurm.conf")}

    def prepare(self) -> Slurm:
        """Its directories, a key for munge, and slurm.conf."""
        munge = self.place / "munge"
        for directory in (munge, self.place / "state", self.place / "spool"):
            directory.mkdir(mode=0o755)
        (munge / "key").write_bytes(os.urandom(1024))
        (munge / "key").chmod(0o400)
        subprocess.run(["chown", "-R", as_user("munge", "nobody")[1].partition("=")[2], munge], check=True)
        host = socket.gethostname().partition(".")[0]
        ports = {"ctld_port": free_port(), "d_port": free_port()}
        (self.place / "slurm.conf").write_text(_SLURM.format(host=host, place=self.place, more=self.more, **ports))
        return self

    def start(self) -> Slurm:
        """Starts what doesn't run of munged, slurmctld and slurmd, and waits until jobs may be submitted."""
        munge = self.place / "munge"
        options = [f"--socket={munge}/socket", f"--key-file={munge}/key", f"--log-file={munge}/log"]
        options += [f"--pid-file={munge}/pid", f"--seed-file={munge}/seed"]
        self._start("munged", [*as_user("munge", "nobody"), "munged", "-F", *options])
        wait_until((munge / "socket").exists, 10, f"munged listens; its log is {munge}/log")
        self._start("slurmctld", ["slurmctld", "-D"])
        self._start("slurmd", ["slurmd", "-D"])
        wait_until(self._is_idle, 30, f"the node is idle; the logs are in {self.place}")
        return self

    def stop(self, *names: str) -> None:
        """Stops these daemons; with no name all. Jobs go on when only slurmctld stops."""
        for name in names or ("slurmd", "slurmctld", "munged"):
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
        return subprocess.run(argv, env=environment(extra=self.environment), capture_output=True, text=True, check=True).stdout

    def _start(self, name: str, argv: list[str]) -> None:
        if name not in self.daemons:
            with (self.place / f"{name}.out").open("ab") as out:
                env = environment(extra={**SBIN, **self.environment})
                env.pop(TEST_MARK, None)  # it may outlive the test
                self.daemons[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)

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
