"""What the tests of disks, dumps and bundles share: slots with disks, the warehouse, passes, what the bundles hold."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.migrate.steps import Site
from tests.support import Result

UUID = "5b1e3f7a-0001-4c2d-8e9f-00000000000{}"
DAY = "data/exp/IceCube/2016/unbiased/PFRaw/1206"
# Names that have broken something somewhere, as raw bytes.
WILD = (
    b"it's", b'say "a"', b"100%", b"50%25", b"a_b", b"c@d", b"e+f", b"g!", b"h{}i", "\u00fcml\u00e4ut".encode(), b"new\nline",
    b"\xff\xfe", b"a b", b"-rf", b"a,b",
)  # fmt: skip


@dataclass
class Train(Site):
    """One HOME on the embedded defaults: slots, warehouse, outbound."""

    serve: Any = None
    keys: dict[str, Any] = field(default_factory=dict)

    def set(self, **keys: Any) -> None:
        """[lta] keys."""
        self.keys |= keys
        file = self.home / "dmtools.toml"
        kept = self.home / "dmtools.first"
        if not kept.exists():
            kept.write_text(file.read_text())
        own = "".join(f"lta.{name} = {json.dumps(value)}\n" for name, value in self.keys.items())
        file.write_text(own + kept.read_text())

    # ---- disks

    def slot(self, number: int) -> Path:
        """A slot."""
        return self.home / f"demo/lta/slots/slot{number}"

    def uuid(self, number: int) -> str:
        """The UUID of the disk with this number."""
        return UUID.format(number)

    def disk(self, number: int, slot: int | None = None) -> Path:
        """A disk's directory, in the slot of its number or another."""
        path = self.slot(slot or number) / self.uuid(number)
        path.mkdir(exist_ok=True)
        return path

    def file(self, number: int, path: str | bytes, data: bytes | None = None) -> Path:
        """A file on a disk."""
        return put(self.disk(number), path, data)

    def states(self) -> dict[str, str]:
        """Disk by its last digit -> state."""
        return {uuid[-1]: state for uuid, state in self.sql("SELECT uuid, state FROM lta_disk ORDER BY uuid")}

    def reason(self, number: int) -> str:
        """Why a disk stands where it stands."""
        return str(self.sql("SELECT reason FROM lta_disk WHERE uuid = ?", self.uuid(number))[0][0])

    def manifest(self, number: int) -> Path:
        """The manifest of a dumped disk."""
        return self.home / "lta/disks" / f"{self.uuid(number)}.ndjson"

    # ---- passes

    def dump(self, *args: object, codes: tuple[int, ...] = (0,), **how: Any) -> Result:
        """One pass of lta-dump-control."""
        return self.run("lta-dump-control", "--json", *args, **how).gave(*codes)

    def glue(self, *args: object, codes: tuple[int, ...] = (0,), **how: Any) -> Result:
        """One pass of lta-glue."""
        return self.run("lta-glue", "--json", *args, **how).gave(*codes)

    def expect(self, **numbers: int) -> None:
        """The expected numbers of directories; `DAY` is the day of this file."""
        self.expected({"/" + DAY if name == "day" else name: number for name, number in numbers.items()})

    def expected(self, numbers: dict[str, int], codes: tuple[int, ...] = (0,)) -> Result:
        """The expected numbers of these directories."""
        file = self.home / "expected.txt"
        file.write_bytes(b"".join(os.fsencode(name) + f" {number}\n".encode() for name, number in numbers.items()))
        return self.glue("--expect", file, codes=codes)

    def due(self) -> None:
        """What waits may go now; a claim of a pass that was killed has run out."""
        with self.database() as db:
            for table in ("lta_disk", "lta_directory", "lta_bundle"):
                db.execute(f"UPDATE {table} SET ready = since")

    # ---- warehouse and bundles

    @property
    def warehouse(self) -> Path:
        """Where disks are dumped to."""
        return self.home / "demo/lta/warehouse"

    def stored(self, path: str | bytes, data: bytes | None = None) -> Path:
        """A file in the warehouse."""
        return put(self.warehouse, path, data)

    def full(self, *paths: str | bytes, day: str = DAY, codes: tuple[int, ...] = (0,)) -> dict[bytes, bytes]:
        """Files of a directory of the warehouse, which is full by them; gives them by their names in a bundle."""
        made = {}
        for path in paths:
            name = os.fsencode(day) + b"/" + os.fsencode(path)
            made[name] = self.stored(name).read_bytes()
        self.expected({f"/{day}": len(paths)}, codes)
        return made

    def directories(self) -> dict[str, str]:
        """Directory -> state."""
        return dict(self.sql("SELECT ideal, state FROM lta_directory"))

    def directory_reason(self) -> str:
        """Why the one directory is a problem."""
        return str(self.sql("SELECT reason FROM lta_directory")[0][0])

    def zips(self) -> list[Path]:
        """All bundles in outbound."""
        return sorted((self.home / "demo/lta/outbound").rglob("*.zip"))

    def bundled(self) -> dict[bytes, bytes]:
        """All files of all bundles, each exactly once, by their raw names; each bundle stands in the tables as it is."""
        found: dict[bytes, bytes] = {}
        for path in self.zips():
            for name, data in members(path).items():
                assert name not in found, name
                found[name] = data
        rows = {name.removeprefix(f"file://{self.home}"): size for name, size in self.sql("SELECT name, size FROM lta_bundle")}
        assert rows == {str(path).removeprefix(str(self.home)): path.stat().st_size for path in self.zips()}
        return found


def put(root: Path, path: str | bytes, data: bytes | None = None) -> Path:
    """A file below a directory."""
    place = Path(os.fsdecode(os.fsencode(root) + b"/" + os.fsencode(path)))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(os.urandom(300) if data is None else data)
    return place


def members(path: Path) -> dict[bytes, bytes]:
    """The files of a bundle by their raw names, without the manifest, read by Python's zipfile."""
    with zipfile.ZipFile(path) as bundle:
        first, *others = bundle.infolist()
        assert first.filename == f"{path.stem}.metadata.ndjson"
        return {raw(one): bundle.read(one) for one in others}


def raw(one: zipfile.ZipInfo) -> bytes:
    """A member's name as it is in the zip: UTF-8 when it says so, else bytes, which zipfile takes for cp437."""
    return one.orig_filename.encode("utf-8" if one.flag_bits & 0x800 else "cp437")


def tree(root: Path) -> dict[bytes, bytes]:
    """All files below a directory by their raw names; hidden ones, too."""
    top = os.fsencode(root)
    return {
        os.path.relpath(os.path.join(place, name), top): Path(os.fsdecode(os.path.join(place, name))).read_bytes()
        for place, _, files in os.walk(top)
        for name in files
    }


def told(result: Result) -> str:
    """All that was told, in one text."""
    return " | ".join(" ".join(error.values()) for error in result.json["errors"])
