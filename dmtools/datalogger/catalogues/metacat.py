"""MetaCat by its own client: a file with its metadata, in a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dmtools.control import simulated
from dmtools.datalogger.catalogues.entry import CREDENTIALS, REFUSED, SERVER, SETTINGS, Away, Entry, Failed, Seen, judged
from dmtools.settings import Settings, SettingsError, read_secret

FILE, ATTACHED = "file", "attached"
SIMULATED = "sim:metacat"
GATEWAY = (502, 503, 504, 521, 524)  # what its client asks again by itself, for half an hour if it is let
T = TypeVar("T")


@dataclass
class MetacatCatalogue:
    """MetaCat's server."""

    settings: Settings
    name: str = "metacat"
    _client: Any = None
    _datasets: set[str] = field(default_factory=set)  # that are known to be there
    _inside: set[str] = field(default_factory=set)  # files that came into their dataset with their record

    @property
    def shown(self) -> str:
        """For people."""
        return self.settings.datalogger.metacat.url

    def open(self) -> None:
        """Makes the client with its token. Raises Away, Failed."""
        found = self.settings.datalogger.metacat
        try:
            address, token = self._address()
            self._client = self._made(address, read_secret(token, "token file"))
        except simulated.NotRunning as problem:
            raise Away(str(problem)) from None
        except SettingsError as problem:
            raise Failed(SETTINGS, str(problem), "mend it; the next pass goes on") from None
        except Exception as problem:  # noqa: BLE001 - of the decoder of tokens, whatever it is made of today
            why = f"{found.token_file or 'the token of the simulator'} holds no token of MetaCat: {problem}"
            raise Failed(CREDENTIALS, why[:300], "get one with: metacat auth login, metacat auth token -o FILE") from None

    def _address(self) -> tuple[str, Path]:
        found = self.settings.datalogger.metacat
        if found.url != SIMULATED:
            return found.url.rstrip("/"), self.settings.path(found.token_file)
        address, _ = simulated.address(self.settings.home, "metacat")
        return address, self.settings.path(found.token_file or "run/sim/metacat.token")

    def _made(self, address: str, token: str) -> Any:
        from metacat.webapi import MetaCatClient

        found = self.settings.datalogger.metacat
        times: Any = (found.connect_seconds, found.call_seconds)
        # Below a file nothing can be made: else the client makes itself a library of tokens.
        client = MetaCatClient(address, token=token, token_library=f"{__file__}/none")
        client.Timeout = times
        client.DefaultTimeout = 0.0  # a gateway's error is no reason to try again for half an hour
        return client

    def steps(self, entry: Entry) -> tuple[str, ...]:
        """The file's record, and its place in the dataset."""
        return (FILE, ATTACHED)

    def _dataset(self, entry: Entry) -> str:
        found = self.settings.datalogger.metacat
        return f"{found.namespace}:{entry.dataset(found.dataset)}"

    def look(self, entry: Entry) -> Seen:
        """Asks for the file and its datasets."""
        found = self.settings.datalogger.metacat
        ask = {"namespace": found.namespace, "name": entry.name, "with_provenance": False, "with_datasets": True}
        return self._asked(lambda: self._seen(entry, self._client.get_file(**ask)))

    def _seen(self, entry: Entry, record: Any) -> Seen:
        if record is None:
            return Seen()
        if differs := judged(entry, "MetaCat", record["size"], record["checksums"].get("adler32")):
            return Seen(differs=differs)
        if record.get("retired"):
            return Seen(differs=f"MetaCat has {entry.name}, and somebody has retired it there")
        namespace, _, name = self._dataset(entry).partition(":")
        inside = any((one["namespace"], one["name"]) == (namespace, name) for one in record.get("datasets") or ())
        return Seen(frozenset({FILE, ATTACHED} if inside else {FILE}))

    def act(self, step: str, entry: Entry) -> None:
        """Declares it within the dataset, or adds it to it."""
        dataset, found = self._dataset(entry), self.settings.datalogger.metacat
        self._have(dataset)
        if step == FILE:
            told = {"namespace": found.namespace, "name": entry.name, "size": entry.bytes}
            told |= {"checksums": {"adler32": entry.adler32}, "metadata": metadata(entry)}
            self._asked(lambda: self._declare(dataset, told), ("AlreadyExistsError",))
        elif entry.name not in self._inside:
            files = [{"namespace": found.namespace, "name": entry.name}]
            self._asked(lambda: self._client.add_files(dataset, file_list=files))

    def _declare(self, dataset: str, told: dict[str, Any]) -> None:
        self._client.declare_files(dataset, [told])
        self._inside.add(told["name"])

    def _have(self, dataset: str) -> None:
        """The dataset, made where it lacks and the settings say so. Raises Failed."""
        if dataset in self._datasets:
            return
        if self._asked(lambda: self._client.get_dataset(dataset)) is None:
            if not self.settings.datalogger.metacat.make_dataset:
                step = "make it, or set [datalogger.metacat] make_dataset"
                raise Failed(SETTINGS, f"MetaCat has no dataset {dataset}", step)
            self._asked(lambda: self._client.create_dataset(dataset), ("AlreadyExistsError",))
        self._datasets.add(dataset)

    def _asked(self, call: Callable[[], T], well: tuple[str, ...] = ()) -> T:
        """Its answer; what the client raises becomes Away or Failed. `well`: names of errors that say that it is done."""
        import requests
        from metacat.webapi.webapi import MCError

        try:
            return call()
        except requests.RequestException as problem:
            late = isinstance(problem, requests.Timeout)
            raise Away("no answer in time" if late else "no connection, or it was cut") from None
        except MCError as problem:
            if type(problem).__name__ in well:
                return None  # type: ignore[return-value]  # who passes `well` wants no answer
            raise _failure(problem) from None
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise Failed(SERVER, f"what answered is no answer of MetaCat: {problem}"[:300]) from None


def metadata(entry: Entry) -> dict[str, Any]:
    """What MetaCat is told: its keys must hold a dot."""
    return {f"datalogger.{key}": value for key, value in entry.facts().items()} | {"dmtools.version": entry.version}


def _failure(problem: Any) -> Exception:
    """MetaCat's words on one line."""
    status = getattr(problem, "StatusCode", 0)
    said = " ".join(str(getattr(problem, "Message", "") or getattr(problem, "Body", "") or type(problem).__name__).split())[:300]
    if status in GATEWAY:
        return Away(f"the server says {status}")
    if status in (401, 403):
        return Failed(CREDENTIALS, f"MetaCat does not take our token: {said}", "renew [datalogger.metacat] token_file")
    if status >= 500:
        return Failed(SERVER, f"the server failed: {status} {said}")
    return Failed(REFUSED, f"{type(problem).__name__}: {said}")
