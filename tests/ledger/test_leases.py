"""Claims: one holder at a time, taken over when it is gone, and a late holder's write refused. On sqlite and MariaDB."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from dmtools import clock
from dmtools.ledger import Ledger, Stale, leases, tables
from dmtools.ledger.leases import Leases
from tests.support import ROOT, wait_until

L = tables.lease.c

CHILD = """
import json, sys, time
from pathlib import Path
from tests.ledger.conftest import settings_for
from dmtools.ledger import open_ledger
from dmtools.ledger.leases import Leases
held = Leases(open_ledger(settings_for(sys.argv[1], Path(sys.argv[2]))))
got = []
for name in sys.argv[3:]:
    got += held.claim([name])
print(json.dumps(got), flush=True)
sys.stdin.read()
"""


def child(url: str, place: Path, *resources: str) -> subprocess.Popen[bytes]:
    """Another process that claims, says what it got, and holds it until its stdin ends."""
    argv = [sys.executable, "-c", CHILD, url, str(place), *resources]
    return subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def said(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def rows(ledger: Ledger) -> dict[str, Any]:
    with ledger.read() as connection:
        return {row.resource: row for row in connection.execute(select(tables.lease))}


def check(ledger: Ledger, held: Leases, lease: leases.Lease) -> None:
    with ledger.write() as connection:
        held.check(connection, lease)


def expire(ledger: Ledger, resource: str) -> None:
    past = clock.now() - timedelta(days=1)
    ledger.transact(lambda c: c.execute(update(tables.lease).where(L.resource == resource).values(expires=past)))


def test_one_holder_and_what_is_given_back_can_be_claimed(ledger: Ledger) -> None:
    one, other = Leases(ledger), Leases(ledger)
    got = one.claim(["a", "b", "b"])
    assert set(got) == {"a", "b"}
    assert set(other.claim(["a", "c"])) == {"c"}
    assert one.claim(["a"]) == {}
    one.release(["a"])
    again = other.claim(["a"])["a"]
    assert again.fence > max(lease.fence for lease in got.values())
    one.close()
    other.close()
    assert rows(ledger) == {}


def test_an_expired_claim_is_taken_and_its_late_holder_is_refused(ledger: Ledger) -> None:
    slow, quick = Leases(ledger), Leases(ledger)
    lease = slow.claim(["a"])["a"]
    check(ledger, slow, lease)
    expire(ledger, "a")
    with pytest.raises(Stale):
        check(ledger, slow, lease)
    taken = quick.claim(["a"])["a"]
    assert taken.fence > lease.fence
    with pytest.raises(Stale, match="the lease of a"):
        check(ledger, slow, lease)
    check(ledger, quick, taken)
    slow.close()
    assert set(rows(ledger)) == {"a"}, "a late holder must not give back what another one holds"
    quick.close()


def test_a_release_in_the_callers_transaction_is_undone_with_it(ledger: Ledger) -> None:
    held = Leases(ledger)
    held.claim(["a"])

    def fail(connection: Connection) -> None:
        held.release(["a"], connection)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        ledger.transact(fail)
    assert set(rows(ledger)) == {"a"}


def test_a_killed_process_loses_its_claims_at_once(ledger: Ledger, url: str, tmp_path: Path) -> None:
    process = child(url, tmp_path, "a")
    assert said(process) == ["a"]
    mine = Leases(ledger)
    assert mine.claim(["a"]) == {}
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert set(mine.claim(["a"])) == {"a"}
    mine.close()


def test_a_pid_that_came_again_is_not_the_holder(ledger: Ledger) -> None:
    mine, other = Leases(ledger), Leases(ledger)
    mine.claim(["a"])
    ledger.transact(lambda c: c.execute(update(tables.lease).values(started=1)))
    assert set(other.claim(["a"])) == {"a"}
    other.close()


def test_a_dead_pid_on_another_machine_says_nothing(ledger: Ledger, url: str, tmp_path: Path) -> None:
    process = child(url, tmp_path, "a")
    said(process)
    process.kill()
    process.communicate()
    ledger.transact(lambda c: c.execute(update(tables.lease).values(machine="elsewhere/1/pid:[1]")))
    assert Leases(ledger).claim(["a"]) == {}


def test_a_long_holder_extends_its_claims(ledger: Ledger) -> None:
    held = Leases(ledger, seconds=4)
    lease = held.claim(["a"])["a"]
    wait_until(lambda: rows(ledger)["a"].expires > lease.expires + timedelta(seconds=1), 60, "the claim is extended")
    check(ledger, held, lease)
    held.close()


def test_a_holder_that_lost_all_its_claims_is_told(ledger: Ledger) -> None:
    held = Leases(ledger, seconds=1)
    lease = held.claim(["a"])["a"]
    ledger.transact(lambda c: c.execute(tables.lease.delete()))
    wait_until(held._lost.is_set, 60, "the thread sees that the claim is gone")
    with pytest.raises(Stale):
        check(ledger, held, lease)
    held.close()


def test_giving_back_is_no_loss(ledger: Ledger) -> None:
    held = Leases(ledger, seconds=4)
    for number in range(30):
        held.claim([f"r{number}"])
        held.release([f"r{number}"])
    lease = held.claim(["a"])["a"]
    wait_until(lambda: rows(ledger)["a"].expires > lease.expires, 60, "the claim is extended")
    check(ledger, held, lease)
    held.close()


def test_processes_that_claim_at_once_share(ledger: Ledger, url: str, tmp_path: Path) -> None:
    wanted = [f"list/{number}" for number in range(30)]
    running = [child(url, tmp_path, *(wanted if n % 2 else wanted[::-1])) for n in range(4)]
    got = [said(process) for process in running]
    assert sorted(name for part in got for name in part) == sorted(wanted)
    for process in running:
        process.kill()
        process.communicate()
    mine = Leases(ledger)
    assert set(mine.claim(wanted)) == set(wanted)
    mine.close()
    assert rows(ledger) == {}


@pytest.mark.parametrize("name", ["x" * 191, "ü"])
def test_a_name_that_would_be_cut_off_is_refused(ledger: Ledger, name: str) -> None:
    with pytest.raises(ValueError, match="can't name a lease"):
        Leases(ledger).claim([name])


def test_started_tells_the_living_from_the_dead() -> None:
    assert leases.started(os.getpid())
    process = subprocess.Popen(["true"])
    wait_until(lambda: leases.started(process.pid) is None, 60, "a zombie counts as dead")
    process.wait()
    assert leases.started(process.pid) is None
