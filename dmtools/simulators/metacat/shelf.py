"""What the catalogue holds: namespaces, datasets, files and which dataset has which. It stays over a restart."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmtools import durable

NAME = re.compile(r"[A-Za-z0-9_./-]+$")
QUERY = re.compile(r"files (?:from )?(?P<set>\S+:\S+)(?: where (?P<key>\S+) *= *(?P<value>.+))?$")


class Refused(Exception):
    """An answer that is no success: its status and its text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def did(namespace: object, name: object) -> str:
    """namespace:name. Raises Refused."""
    for word in (namespace, name):
        if not isinstance(word, str) or not NAME.match(word):
            raise Refused(400, f"Invalid namespace or name: {word!r}")
    return f"{namespace}:{name}"


@dataclass
class Shelf:
    """The whole, kept in one JSON file. Every call is made under one lock."""

    path: Path
    namespaces: dict[str, Any] = field(default_factory=dict)
    datasets: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def load(self) -> Shelf:
        """What an earlier process kept."""
        if self.path.exists():
            kept = json.loads(self.path.read_bytes())
            self.namespaces, self.datasets, self.files = kept["namespaces"], kept["datasets"], kept["files"]
        return self

    def save(self) -> None:
        """Before an answer says that something was done, it is."""
        kept = {"namespaces": self.namespaces, "datasets": self.datasets, "files": self.files}
        durable.write_file(self.path, json.dumps(kept).encode(), mode=0o600)

    def dataset(self, name: str) -> Any:
        """Raises Refused."""
        if name not in self.datasets:
            raise Refused(404, f"Dataset {name} not found")
        return self.datasets[name]

    def file(self, which: dict[str, Any]) -> Any:
        """By fid, did, or namespace and name. Raises Refused."""
        if which.get("fid"):
            found = next((one for one in self.files.values() if one["fid"] == which["fid"]), None)
        else:
            found = self.files.get(which.get("did") or f"{which.get('namespace')}:{which.get('name')}")
        if found is None:
            raise Refused(404, "File not found")
        return found

    def make_dataset(self, told: dict[str, Any], user: str) -> Any:
        """A new dataset in a namespace that is there. Raises Refused."""
        name = did(told.get("namespace"), told.get("name"))
        if told["namespace"] not in self.namespaces:
            raise Refused(404, f"Namespace {told['namespace']} not found")
        if name in self.datasets:
            raise Refused(409, "Already exists")
        kept = {key: told.get(key) for key in ("namespace", "name", "frozen", "monotonic", "metadata", "description")}
        self.datasets[name] = {**kept, "creator": user, "created_timestamp": time.time(), "files": []}
        self.save()
        return self.shown_dataset(name)

    def shown_dataset(self, name: str) -> dict[str, Any]:
        """As answers have it."""
        found = self.dataset(name)
        return {**{key: value for key, value in found.items() if key != "files"}, "file_count": len(found["files"])}

    def declare(self, dataset: str, told: Any, user: str, *, dry_run: bool) -> list[dict[str, str]]:
        """New files within a dataset, all of them or none. Raises Refused."""
        inside = self.dataset(dataset)
        if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
            raise Refused(400, "A list of files is wanted")
        names = [did(one.get("namespace"), one.get("name")) for one in told]
        for one in told:
            _judge(one, self.namespaces)
        if there := [name for name in names if name in self.files]:
            raise Refused(409, "\n".join(["Some files already exist:", *there]))
        made = [_record(one, user) for one in told]
        if not dry_run:
            self.files |= dict(zip(names, made, strict=True))
            inside["files"] += names
            self.save()
        return [{key: one[key] for key in ("namespace", "name", "fid")} for one in made]

    def add(self, dataset: str, which: list[dict[str, Any]]) -> int:
        """Files that are there come into the dataset; how many were not in it before. Raises Refused."""
        inside = self.dataset(dataset)["files"]
        new = [name for one in which if (name := _name(self.file(one))) not in inside]
        inside += new
        self.save()
        return len(new)

    def remove(self, dataset: str, which: list[dict[str, Any]]) -> int:
        """Files leave the dataset. Raises Refused."""
        inside = self.dataset(dataset)["files"]
        gone = [name for one in which if (name := _name(self.file(one))) in inside]
        for name in gone:
            inside.remove(name)
        self.save()
        return len(gone)

    def delete(self, which: dict[str, Any]) -> None:
        """The file is gone, and may be declared again. Raises Refused."""
        name = _name(self.file(which))
        del self.files[name]
        for one in self.datasets.values():
            one["files"] = [other for other in one["files"] if other != name]
        self.save()

    def update(self, which: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> Any:
        """Changes a file's record. Raises Refused."""
        found = self.file(which)
        change(found)
        self.save()
        return found

    def shown_file(self, found: dict[str, Any], *, metadata: bool, datasets: bool, provenance: bool) -> dict[str, Any]:
        """As answers have it."""
        shown = dict(found) if metadata else {key: value for key, value in found.items() if key != "metadata"}
        if provenance:
            shown |= {"parents": [], "children": []}
        if datasets:
            name = _name(found)
            inside = [one for one in self.datasets.values() if name in one["files"]]
            shown["datasets"] = [{"namespace": one["namespace"], "name": one["name"]} for one in inside]
        return shown

    def query(self, text: str) -> Iterator[Any]:
        """`files from NAMESPACE:NAME`, of a dataset, with `where KEY = VALUE` of the metadata. Raises Refused."""
        found = QUERY.match(text.strip())
        if found is None:
            raise Refused(400, f"This simulator knows `files from NAMESPACE:NAME [where KEY = VALUE]` alone: {text!r}")
        wanted = (found["value"] or "").strip().strip("'\"")
        for name in self.dataset(found["set"])["files"]:
            one = self.files[name]
            if not one["retired"] and (not found["key"] or str(one["metadata"].get(found["key"])) == wanted):
                yield one


def _name(found: dict[str, Any]) -> str:
    return f"{found['namespace']}:{found['name']}"


def _judge(told: dict[str, Any], namespaces: dict[str, Any]) -> None:
    if told["namespace"] not in namespaces:
        raise Refused(404, f"Namespace {told['namespace']} not found")
    if not isinstance(told.get("size"), int) or told["size"] < 0:
        raise Refused(400, "File size is unspecified or invalid")
    if wrong := [key for key in told.get("metadata") or {} if "." not in key]:
        raise Refused(400, f"Invalid metadata key {wrong[0]!r}: it must contain a dot")


def _record(told: dict[str, Any], user: str) -> dict[str, Any]:
    kept = {"namespace": told["namespace"], "name": told["name"], "size": told["size"]}
    kept |= {"fid": told.get("fid") or uuid.uuid4().hex[:16], "checksums": told.get("checksums") or {}}
    kept |= {"metadata": told.get("metadata") or {}, "creator": user, "created_timestamp": time.time()}
    return {**kept, "retired": False, "updated_by": None, "updated_timestamp": None}
