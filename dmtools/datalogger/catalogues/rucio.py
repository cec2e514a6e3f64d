"""Rucio by its own client: a file's replica, its place in a dataset, and the dataset's replication rule.

Rucio takes a second add_replicas of a name with another checksum without a word, and keeps the first: so what it has is looked
up before and after. What it was asked in a call whose answer was lost, the client asks again; "it is there" is then an answer.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dmtools.datalogger.catalogues.entry import CREDENTIALS, REFUSED, SERVER, SETTINGS, Away, Entry, Failed, Seen, judged
from dmtools.settings import Settings, SettingsError, read_secret

REPLICA, ATTACHED, RULE = "replica", "attached", "rule"
NO_RULE = "none"
T = TypeVar("T")
# Rucio's own names of what no other file would fare better with.
SIGNED_OUT = ("CannotAuthenticate", "NoAuthInformation", "AccessDenied", "AccountNotFound", "InvalidCredential", "IdentityError")
SET_WRONG = (
    *("MissingClientParameter", "ConfigNotFound", "ClientProtocolNotFound", "ClientProtocolNotSupported"),
    *("RSENotFound", "ScopeNotFound", "InvalidRSEExpression", "InsufficientAccountLimit", "MissingModuleException"),
)
GATEWAY = ("502", "503", "504")


@dataclass
class RucioCatalogue:
    """Rucio's server as rucio.cfg names it. `secrets`: where the client may keep its token; None: nowhere that stays."""

    settings: Settings
    secrets: Path | None
    name: str = "rucio"
    _client: Any = None
    _scratch: Any = None
    _datasets: set[str] = field(default_factory=set)  # that are known to be there
    _ruled: set[str] = field(default_factory=set)  # with the rule

    @property
    def shown(self) -> str:
        """For people."""
        return str(getattr(self._client, "host", "")) or "Rucio"

    @property
    def _rule(self) -> str:
        found = self.settings.datalogger.rucio
        return found.rule or found.rse

    def open(self) -> None:
        """Makes the client and signs in. Raises Away, Failed."""
        found = self.settings.datalogger.rucio
        creds = {}
        try:
            if found.config:
                read_secret(config := self.settings.path(found.config), "configuration of Rucio")
                os.environ["RUCIO_CONFIG"] = str(config)
            if found.password_file:
                creds["password"] = read_secret(self.settings.path(found.password_file), "password file")
        except SettingsError as problem:
            raise Failed(SETTINGS, str(problem), "mend it; the next pass goes on") from None
        self._client = self._asked(lambda: self._made(creds))

    def _made(self, creds: dict[str, str]) -> Any:
        from rucio.client import Client
        from rucio.client.baseclient import BaseClient

        quiet = logging.getLogger("rucio-client")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        # Else all servers' tokens of an account are one file in /tmp.
        if self.secrets is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="dmtools-")
        BaseClient.TOKEN_PATH_PREFIX = f"{self.secrets or self._scratch.name}/rucio-"
        found = self.settings.datalogger.rucio
        times: Any = (found.connect_seconds, found.call_seconds)
        return Client(account=found.account or None, creds=creds or None, timeout=times, logger=quiet)

    def steps(self, entry: Entry) -> tuple[str, ...]:
        """The replica, its place in the dataset, and, unless there is to be none, the dataset's rule."""
        return (REPLICA, ATTACHED) if self._rule == NO_RULE else (REPLICA, ATTACHED, RULE)

    def look(self, entry: Entry) -> Seen:
        """Asks for the file, its replicas, its datasets, and the rules of the dataset."""
        return self._asked(lambda: self._seen(entry))

    def _seen(self, entry: Entry) -> Seen:
        from rucio.common import exception

        found, client = self.settings.datalogger.rucio, self._client
        dataset = entry.dataset(found.dataset)
        steps = {RULE} if self._has_rule(dataset) else set()
        try:
            meta = client.get_metadata(found.scope, entry.name)
        except exception.DataIdentifierNotFound:
            return Seen(frozenset(steps))
        if meta.get("did_type") != "FILE":
            return Seen(
                differs=f"Rucio has {found.scope}:{entry.name}, and it is no file but a {str(meta.get('did_type')).lower()}"
            )
        if differs := judged(entry, "Rucio", meta.get("bytes"), meta.get("adler32")):
            return Seen(differs=differs)
        replicas = client.list_replicas([{"scope": found.scope, "name": entry.name}], all_states=True)
        steps |= {REPLICA for one in replicas if found.rse in one["rses"]}
        parents = client.list_parent_dids(found.scope, entry.name)
        steps |= {ATTACHED for one in parents if (one["scope"], one["name"]) == (found.scope, dataset)}
        return Seen(frozenset(steps))

    def _has_rule(self, dataset: str) -> bool:
        from rucio.common import exception

        if dataset in self._ruled:
            return True
        try:
            rules = list(self._client.list_did_rules(self.settings.datalogger.rucio.scope, dataset))
        except exception.DataIdentifierNotFound:
            return False
        self._datasets.add(dataset)
        mine = [one for one in rules if (one["rse_expression"], one["account"]) == (self._rule, self._client.account)]
        self._ruled |= {dataset} if mine else set()
        return bool(mine)

    def act(self, step: str, entry: Entry) -> None:
        """Does the step; that it is done already is well."""
        {REPLICA: self._add, ATTACHED: self._attach, RULE: self._protect}[step](entry)

    def _add(self, entry: Entry) -> None:
        found = self.settings.datalogger.rucio
        told: dict[str, Any] = {"scope": found.scope, "name": entry.name, "bytes": entry.bytes, "adler32": entry.adler32}
        told |= {"pfn": found.pfn.replace("{name}", entry.name)} if found.pfn else {}
        self._asked(lambda: self._client.add_replicas(found.rse, [told]), ("Duplicate", "FileReplicaAlreadyExists"))

    def _attach(self, entry: Entry) -> None:
        found = self.settings.datalogger.rucio
        dataset = entry.dataset(found.dataset)
        if dataset not in self._datasets:
            self._asked(lambda: self._client.add_dataset(found.scope, dataset), ("DataIdentifierAlreadyExists",))
            self._datasets.add(dataset)
        files = [{"scope": found.scope, "name": entry.name}]
        self._asked(lambda: self._client.attach_dids(found.scope, dataset, files), ("FileAlreadyExists", "DuplicateContent"))

    def _protect(self, entry: Entry) -> None:
        found = self.settings.datalogger.rucio
        dataset = {"scope": found.scope, "name": entry.dataset(found.dataset)}
        self._asked(lambda: self._client.add_replication_rule([dataset], found.copies, self._rule), ("DuplicateRule",))
        self._ruled.add(dataset["name"])

    def _asked(self, call: Callable[[], T], well: tuple[str, ...] = ()) -> T:
        """Its answer; what the client raises becomes Away or Failed. `well`: names of errors that say that it is done."""
        import requests
        from rucio.common.exception import RucioException, ServerConnectionException

        try:
            return call()
        except (requests.RequestException, ServerConnectionException) as problem:
            raise Away(_reason(problem)) from None
        except RucioException as problem:
            if type(problem).__name__ in well:
                return None  # type: ignore[return-value]  # who passes `well` wants no answer
            raise _failure(problem) from None
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise Failed(SERVER, f"what answered is no answer of Rucio: {problem}"[:300]) from None
        except RuntimeError as problem:  # of its reader of rucio.cfg
            raise Failed(SETTINGS, f"{problem}"[:300], "see [datalogger.rucio] config") from None
        except OSError as problem:
            raise Failed(SETTINGS, f"{problem.filename or 'a file of the client'}: {problem.strerror or problem}") from None


def _reason(problem: Exception) -> str:
    import requests

    if isinstance(problem, requests.ConnectTimeout | requests.ReadTimeout):
        return "no answer in time"
    return "no connection" if isinstance(problem, requests.ConnectionError) else "the server can't be reached"


def _failure(problem: Exception) -> Exception:
    """Rucio's words on one line."""
    name = type(problem).__name__
    said = " ".join(str(problem).replace("Details:", " ").split())[:300]
    if any(f"status code: {code}" in said for code in GATEWAY):
        return Away(f"the server says {said}")
    if name in SIGNED_OUT:
        return Failed(CREDENTIALS, f"Rucio does not take our account: {said}", "renew what [datalogger.rucio] signs in with")
    if name in SET_WRONG:
        return Failed(SETTINGS, f"{name}: {said}", "see [datalogger.rucio] and rucio.cfg, or tell those who run Rucio")
    if name in ("RucioException", "DatabaseException"):
        return Failed(SERVER, f"the server failed: {said}")
    return Failed(REFUSED, f"{name}: {said}")
