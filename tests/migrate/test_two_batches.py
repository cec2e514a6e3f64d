"""One batch is on its way while the next is planned: a consumer that is stopped in the midst of that, and what follows."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools.transfers.dispatch import BATCH
from tests.migrate.steps import Site
from tests.support import Server, command, environment, wait_until

FILES = 2 * BATCH + 30
# So many jobs are taken at once, the next ones slowly: there is time to stop the consumer then.
SLOW = '[[fault]]\nmatch = "POST /jobs"\nop = "slow"\nseconds = 0.02\ntimes = {}\n\n'
SLOWER = '[[fault]]\nmatch = "POST /jobs"\nop = "slow"\nseconds = 2\n'


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Site:
    """One server, and more lists than go in two batches."""
    made = Site(home, serve)
    made.only()
    made.start("--instant")
    made.master(made.files(*(f"/a/f{n}" for n in range(FILES))))
    made.run("migrate-producer", "--lists", 0, "--lfns", 1).ok()
    return made


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
@pytest.mark.parametrize("sent", [10, BATCH - 2, BATCH + 20])
def test_a_consumer_that_is_stopped_between_two_batches_loses_and_doubles_nothing(
    site: Site, how: signal.Signals, sent: int
) -> None:
    site.faults(SLOW.format(sent) + SLOWER)
    env = environment(site.home)
    consumer = subprocess.Popen(command("migrate-consumer", "--lists", 0), env=env, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(site.ask("/sim/submissions")) >= sent, 60, f"{sent} jobs are sent")
    os.kill(consumer.pid, how)
    _, err = consumer.communicate(timeout=60)
    assert consumer.returncode == (-how if how == signal.SIGKILL else 128 + how), err
    sent_then = len(site.ask("/sim/submissions"))
    assert sent <= sent_then < FILES
    if how == signal.SIGTERM:
        assert site.run("dm-leases", "--json").ok().json["leases"] == []
    site.faults("")
    site.consume()
    site.settle()
    assert site.lines("DONE/Okay") == sorted(f"/a/f{n}" for n in range(FILES))
    assert sorted(map(site.lfn, site.copies())) == sorted(f"/a/f{n}" for n in range(FILES))
    jobs = [submission["job_id"] for submission in site.ask("/sim/submissions")]
    assert len(jobs) == len(set(jobs)) == FILES
    site.agrees()
