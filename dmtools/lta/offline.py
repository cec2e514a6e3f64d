"""Where a file is, without any table: the manifests of zips, and manifests that lie about, below a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dmtools import names
from dmtools.lta.glue.manifest import BadManifest, Record, is_manifest
from dmtools.lta.restoring.bundlezip import BadBundle, judged, records
from dmtools.storage import StorageError


@dataclass(frozen=True)
class Listed:
    """What one zip or manifest lists; `problem`: why it could not be read."""

    path: bytes
    records: list[Record]
    problem: str = ""

    @property
    def shown(self) -> str:
        """Its path for people."""
        return names.shown(names.encode(self.path))


def below(top: Path) -> Iterator[Listed]:
    """Every zip and manifest below a directory, or this very one; no link is followed."""
    for path in _paths(os.fsencode(top)):
        name = os.path.basename(path)
        if not (name.endswith(b".zip") or is_manifest(name)):
            continue
        try:
            found = records(path) if name.endswith(b".zip") else judged(Path(os.fsdecode(path)).read_bytes())
            yield Listed(path, found)
        except (BadBundle, BadManifest, StorageError) as problem:
            yield Listed(path, [], str(problem))
        except OSError as problem:
            yield Listed(path, [], problem.strerror or str(problem))


def _paths(top: bytes) -> Iterator[bytes]:
    if os.path.isfile(top):
        yield top
        return
    for directory, directories, files in os.walk(top):
        directories.sort()
        yield from (path for name in sorted(files) if not os.path.islink(path := os.path.join(directory, name)))
