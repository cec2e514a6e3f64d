"""What dm-train-ok asks for migrate beyond the common: proxy or token, copies that stand still."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import func, select

from dmtools import clock, names
from dmtools.control import probes
from dmtools.control.entry import Figure, Probing
from dmtools.ledger import tables
from dmtools.migrate.states import DOING
from dmtools.transfers import credentials

PIPELINE = {"pipeline": "migrate"}
MOST = 1000


def figures(look: Probing) -> Iterator[Figure]:
    """All of them."""
    yield from credential(look)
    yield from stuck(look)


def credential(look: Probing) -> Iterator[Figure]:
    """The life of the proxy; only where a real FTS server needs one."""
    settings = look.settings
    if all(server.url.startswith("sim:") for server in settings.fts.servers):
        return
    wanted = settings.credentials
    try:
        if wanted.token_file:
            credentials.read_token(settings.path(wanted.token_file))
            yield Figure("token", PIPELINE, 1, "the token can be read")
            return
        path = credentials.proxy_path(settings)
        if path is None:
            raise credentials.Unusable("there is neither a proxy nor a token; see [credentials]")
        proxy = credentials.read_proxy(path)
        left = (proxy.expires - look.at).total_seconds()
        credentials.judge(settings, proxy)
    except credentials.Unusable as problem:
        yield Figure("credentials", PIPELINE, 0, str(problem), state=probes.CRITICAL)
        return
    said = f"the proxy {path} lives {clock.age(left)} more"
    limits = (probes.under(wanted.warn_seconds), probes.under(wanted.refuse_seconds))
    yield Figure("proxy_life", PIPELINE, round(left), said, "s", *limits)


def stuck(look: Probing) -> Iterator[Figure]:
    """Files under way that have not moved for [train_ok] stuck_hours; not more than MOST are counted."""
    hours = look.settings.train_ok.stuck_hours
    column = tables.transfer.c
    where = (column.pipeline == "migrate", column.state == DOING, column.since < look.at - timedelta(hours=hours))
    few = select(column.id).where(*where).limit(MOST).subquery()
    number = int(look.connection.execute(select(func.count()).select_from(few)).scalar_one())
    often = f"{number} or more" if number >= MOST else str(number)
    said = f"migrate: {often} files have been at their servers for more than {hours} h" if number else "migrate: nothing is stuck"
    if number:
        first = look.connection.execute(select(column.name).where(*where).order_by(column.since).limit(1)).scalar_one()
        said += f"; dm-trace {names.shown(first)}"
    yield Figure("stuck", PIPELINE, number, said, "", probes.over(0))
