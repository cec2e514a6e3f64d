"""The database's clock without a question each time: it is asked now and then, and between ours counts on."""

from __future__ import annotations

import time
import weakref
from datetime import datetime, timedelta

from sqlalchemy import Connection

from dmtools.ledger import Ledger

_SECONDS = 10.0  # so long our own count is trusted
_asked: weakref.WeakKeyDictionary[Ledger, tuple[datetime, float]] = weakref.WeakKeyDictionary()


def now(ledger: Ledger, connection: Connection) -> datetime:
    """The database's present instant, to some milliseconds; on sqlite it is this machine's."""
    if ledger.sqlite:
        return ledger.now(connection)
    count = time.clock_gettime(time.CLOCK_BOOTTIME)  # runs on while the machine sleeps
    found = _asked.get(ledger)
    if found is None or count - found[1] > _SECONDS:
        found = _asked[ledger] = (ledger.now(connection), count)
    return found[0] + timedelta(seconds=count - found[1])
