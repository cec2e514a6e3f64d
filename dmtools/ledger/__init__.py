"""The ledger: the SQL tables through which the commands talk to each other. One place owns each change of state."""

from dmtools.ledger.engine import Ledger, LedgerUnavailable, Stale, open_ledger

__all__ = ["Ledger", "LedgerUnavailable", "Stale", "open_ledger"]
