"""The control of the kill sweep: a tree that does what the old scripts did, and must be caught at it."""

from tests.faults.machine import Edit

# Submits, and only then writes down that it will; overwrites at once, as the scripts did.
SUBMIT_BEFORE_INTENT = (
    Edit(
        "dmtools/transfers/dispatch.py",
        """\
    try:
        intents = this.ledger.transact(
            lambda c: submit.book(""",
        """\
    from types import SimpleNamespace

    for order in orders:
        row = submit._job_row(order, installation, now)
        files = tuple(
            SimpleNamespace(id=0, checksum=p.checksum, size=p.size, overwrite=1, **vars(p.pair)) for p in order.plan.of(plan.GO)
        )
        words = (row["attempt"], row["server"], row["sid"], row["job"], row["vo"], None, files)
        submit.send(order.server, submit.Intent(0, order.plan.row.id, *words), this.settings, None)
    try:
        intents = this.ledger.transact(
            lambda c: submit.book(""",
    ),
    Edit(
        "dmtools/transfers/submit.py",
        '"id_generator": "deterministic",',
        '"id_generator": "deterministic", **{"overwrite": True},',
    ),
)
