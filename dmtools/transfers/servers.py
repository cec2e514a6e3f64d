"""The FTS servers of the settings: which of them answer now, and who gets the next job."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dmtools.control import simulated
from dmtools.settings import Server, Settings
from dmtools.transfers import credentials

if TYPE_CHECKING:
    from dmtools.transfers.fts import FtsServer


@dataclass
class Servers:
    """Those that answered, by name, and why the others did not."""

    up: dict[str, FtsServer] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def all_away(self) -> bool:
        """Is there nobody to work with?"""
        return not self.up

    def why_not(self, name: str) -> str:
        """Why this server can't be used now."""
        return self.away.get(name) or self.refused.get(name) or f"{name} is not among [fts] servers any more"


def ask(settings: Settings, wanted: Iterable[str] | None = None, *, for_jobs: bool = False) -> Servers:
    """Connects to the servers (all, or those named); asked again at every pass.

    `for_jobs`: also under which VO each knows us, for the ids of new jobs follow from it; one that can't say it is away.
    """
    from dmtools.transfers.fts import Away, CredentialsRefused, connect

    found = Servers()
    names = None if wanted is None else set(wanted)
    for server in settings.fts.servers:
        if names is not None and server.name not in names:
            continue
        try:
            url, token = address(settings, server)
            given = credentials.for_server(settings, token)
            seconds = (settings.fts.connect_seconds, settings.fts.call_seconds)
            one = connect(
                server.name, url, server.weight, token=given.token, proxy=given.proxy, capath=given.capath, seconds=seconds
            )
            if for_jobs:
                _ = one.vo  # asked now, for no server may be asked within a transaction
            found.up[server.name] = one
        except Away as problem:
            found.away[server.name] = str(problem)
        except (CredentialsRefused, credentials.Unusable) as problem:
            found.refused[server.name] = str(problem)
    return found


def address(settings: Settings, server: Server) -> tuple[str, str | None]:
    """(URL, token) of a server; a simulator's stand in its file. Raises Away when that simulator doesn't run."""
    from dmtools.transfers.fts import Away

    if not server.url.startswith("sim:"):
        return server.url, None
    name = server.url[4:]
    try:
        return simulated.address(settings.home, name, f"dm-sim fts --name {name}")
    except simulated.NotRunning as problem:
        raise Away(str(problem)) from None


def choose(servers: dict[str, FtsServer], dice: random.Random) -> FtsServer:
    """One server by weight; a weight of 0 takes no new job."""
    names = [name for name, server in servers.items() if server.weight > 0]
    weights = [servers[name].weight for name in names]
    return servers[dice.choices(names, weights)[0]]


def new_dice() -> random.Random:
    """The dice of a pass; $DMTOOLS_SEED fixes them for drills and tests."""
    seed = os.environ.get("DMTOOLS_SEED")
    return random.Random(int(seed) if seed else None)  # noqa: S311 - weights, no secrets
