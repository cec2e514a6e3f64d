"""raw/SITE/broken.json: the places that were not understood, with their fragments. It stays inside: nothing in it is cleaned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from dmtools import clock, durable
from dmtools.dqm.generations import Generation
from dmtools.dqm.parsing.found import Trouble

FILE = "broken.json"
MOST = 20  # places of one page


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    at: str
    generation: str
    shown: bool  # False: nothing of the page was
    count: int
    troubles: tuple[Trouble, ...]


class Broken:
    """One site's. `live` or `runs/N` -> what was not understood there last."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / FILE
        self._places: dict[str, _Place] = {}
        try:
            self._places = msgspec.json.decode(self._file.read_bytes(), type=dict[str, _Place])
        except (OSError, msgspec.MsgspecError):
            pass  # none was told yet

    def tell(self, place: str, generation: Generation, troubles: Sequence[Trouble], *, shown: bool) -> None:
        """What of this place is not understood now; nothing: all is. Raises OSError."""
        if not troubles and place not in self._places:
            return
        self._places.pop(place, None)
        if troubles:
            told = tuple(troubles[:MOST])
            at = clock.iso(clock.now()) or ""
            self._places[place] = _Place(at=at, generation=generation.path.name, shown=shown, count=len(troubles), troubles=told)
        durable.write_file(self._file, msgspec.json.format(msgspec.json.encode(self._places)))
