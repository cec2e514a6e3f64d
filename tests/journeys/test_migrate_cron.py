"""The real cron of Debian, in a mount namespace of its own, runs the lines of cron/migrate.crontab as a person installs them."""

from __future__ import annotations

import fcntl
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.migrate.steps import Site
from tests.support import ROOT, Server, wait_until

pytestmark = [pytest.mark.needs("cron", "root"), pytest.mark.slow]
# cron's own directories are ours here; nothing of the machine's crontabs is seen, and nothing of it is run. Its log goes
# to the socket /dev/log, which may not be there: so it gets a small /dev with one.
UP = """\
set -e
mount --bind "$1/crontabs" /var/spool/cron/crontabs
mount --bind "$1/cron.d" /etc/cron.d
mount --bind "$1/empty" /etc/crontab
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs "$1/dev"
for name in null zero full random urandom; do touch "$1/dev/$name"; mount --bind "/dev/$name" "$1/dev/$name"; done
touch "$1/dev/log"
mount --bind "$1/log" "$1/dev/log"
ln -s /proc/self/fd "$1/dev/fd"
mount --move "$1/dev" /dev
exec cron -f -L 15
"""


@dataclass
class Cron:
    """A private cron; `log` is what it told."""

    place: Path
    socket: socket.socket
    process: subprocess.Popen[bytes] | None = None
    log: list[str] = field(default_factory=list)

    def start(self, table: str) -> None:
        """Starts it with this crontab of root's."""
        path = self.place / "crontabs/root"
        path.write_text(table)
        path.chmod(0o600)
        argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", UP, "cron", str(self.place)]
        self.process = subprocess.Popen(argv)

    def told(self) -> str:
        """All that it told until now."""
        while True:
            try:
                self.log.append(self.socket.recv(65536).decode("utf-8", "replace"))
            except BlockingIOError:
                return "\n".join(self.log)


@pytest.fixture
def cron(short_tmp: Path) -> Iterator[Cron]:
    place = short_tmp / "cron"
    for name in ("crontabs", "cron.d", "dev"):
        (place / name).mkdir(parents=True)
    (place / "empty").touch()
    subprocess.run(["chown", "root:crontab", place / "crontabs"], check=True)
    (place / "crontabs").chmod(0o1730)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(place / "log"))
        log.setblocking(False)
        made = Cron(place, log)
        yield made
        if made.process is not None:
            made.process.terminate()
            made.process.wait(60)


def installed(site: Site, bin_directory: Path) -> str:
    """The crontab as its own comments say how to install it; and each line every minute."""
    text = (ROOT / "cron/migrate.crontab").read_text()
    text = re.sub("^PATH=.*", f"PATH={bin_directory}:/usr/bin:/bin", text, flags=re.MULTILINE)
    text = re.sub("^DMTOOLS_HOME=.*", f"DMTOOLS_HOME={site.home}", text, flags=re.MULTILINE)
    text = re.sub("^MAILTO=.*", 'MAILTO=""', text, flags=re.MULTILINE)
    return re.sub(r"^[\d*][\d*/,-]* [\d*/,-]+ \* \* \*", "* * * * *", text, flags=re.MULTILINE)


def commands(short_tmp: Path) -> Path:
    """What the set-up makes in .venv/bin: the commands under this Python; each end is written down."""
    place = short_tmp / "bin"
    place.mkdir()
    for name in ("migrate-producer", "migrate-consumer", "migrate-monitor"):
        wrapper = place / name
        run = f'PYTHONPATH={ROOT} {sys.executable} {ROOT}/bin/{name} "$@"'
        wrapper.write_text(f'#!/bin/sh\n{run} > "{place}/{name}.said" 2>&1\necho "$?" >> "{place}/{name}.codes"\n')
        wrapper.chmod(0o755)
    return place


def test_one_tick(home: Path, serve: Callable[..., Server], short_tmp: Path, cron: Cron) -> None:
    site = Site(home, serve)
    site.only()
    site.start()
    before, now = [f"/before/{n}" for n in range(4)], [f"/now/{n}" for n in range(30)]
    site.master(site.files(*before), "before.txt")
    site.produce()
    site.consume()
    site.over()
    site.master(site.files(*now), "now.txt")
    place = commands(short_tmp)
    table = installed(site, place)
    assert table.count("\n* * * * *") == 3
    # The consumer's lock is held, as if the pass before still ran: that line must end at once, without a word.
    with (home / "run/migrate-consumer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cron.start(table)
        names = ("migrate-producer", "migrate-monitor")
        done = [place / f"{name}.codes" for name in names]
        wait_until(lambda: cron.told() and all(path.exists() for path in done), 100, "the minute, and the passes behind it")
    for name in ("migrate-producer", "migrate-consumer", "migrate-monitor"):
        assert re.search(rf'CMD \(.*flock -n -E 0 "\$DMTOOLS_HOME/run/{name}.lock" {name}', cron.told()), cron.told()
    assert re.search(r"END \(.* migrate-consumer", cron.told()), "at once, for the lock is held"
    for name in names:
        assert (place / f"{name}.codes").read_text().split()[0] == "0"
        assert (place / f"{name}.said").read_text() == "", "silent when all is well"
    beats = dict(site.sql("SELECT name, state FROM component WHERE last_success IS NOT NULL"))
    assert {beats["producer"], beats["monitor"]} <= {"done", "idle"}
    assert sorted(site.lines("TODO")) == sorted(now)
    assert site.lines("DONE/Okay") == before
    assert not (place / "migrate-consumer.codes").exists()
    assert len(site.ask("/sim/submissions")) == 1
