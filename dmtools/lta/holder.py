"""Who holds a claim, as people read it, and so that a neighbour can tell that it is dead.

`lta-glue pid 4711 on jade03 (5f1c07a2.884213)`: in brackets this boot of this machine and this space of pids, and when the
process was started in it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re

from dmtools.ledger.leases import HOST, machine, started

_NAME = re.compile(r" pid (\d{1,9}) on \S+ \(([0-9a-f]{8})\.(\d+)\)$")


def name(by: str) -> str:
    """This process, which runs the command `by`."""
    return f"{by} pid {os.getpid()} on {HOST} ({_here()}.{started(os.getpid()) or 0})"


def is_gone(holder: str) -> bool:
    """Was it a process of this very machine, and is no more? Of any other holder that can't be told: False."""
    found = _NAME.search(holder)
    return found is not None and found[2] == _here() and started(int(found[1])) != int(found[3])


@functools.cache
def _here() -> str:
    return hashlib.sha256(machine().encode()).hexdigest()[:8]
