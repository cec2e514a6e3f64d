"""Where a command asks: its own tables, or the server of [lta] url."""

from __future__ import annotations

from dmtools.command.run import Context
from dmtools.control.passes import Pass
from dmtools.lta.api import LOCAL, OPERATOR, Books
from dmtools.lta.home import id_of


def books_of(this: Pass | Context) -> Books:
    """The books of a pass or of another command: by [lta] url those of a server, else our own tables.

    What dead neighbours hold in our own tables is handed back first.
    """
    if this.settings.lta.url:
        from dmtools.lta.away import away

        return away(this.settings)
    from dmtools.lta import holding
    from dmtools.lta.books import Who
    from dmtools.lta.direct import Direct

    if isinstance(this, Pass) and not this.dry_run:
        holding.bury(this.ledger, this.settings, id_of(this), this.by)
    by = this.by if isinstance(this, Pass) else this.name
    return Direct(this.ledger, Who(by, OPERATOR, LOCAL), this.settings)
