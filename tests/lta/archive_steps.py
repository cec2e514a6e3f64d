"""What the tests of restore, audit, manual-files and dirinfo share: bundles with a manifest, proved on tape by the books."""

from __future__ import annotations

import hashlib
import io
import json
import os
import uuid
import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmtools import names
from dmtools.lta.api import answer
from dmtools.lta.api.bundles import AddBundles, Added, Advance, Bundle, BundleMove, Bundles, Claim, NewBundle
from dmtools.lta.api.directories import (
    AdvanceDirectories,
    ClaimDirectories,
    Directories,
    Directory,
    DirectoryMove,
    Expect,
    Full,
    NewExpected,
    Seen,
)
from dmtools.lta.api.errands import AdvanceErrands, ClaimErrands, Errand, ErrandMove, Errands, ListErrands
from dmtools.lta.api.files import AddFiles, NewFile
from dmtools.spool.folders import home_id
from tests.lta.scanner_steps import Outbound
from tests.support import Result

NASTY = (
    b"a b.dat",
    b'it\'s "quoted".dat',
    b"100%_sure+@!{}.dat",
    b"two\nlines.dat",
    b"\xff\xfe raw.dat",
    "Größe µ.dat".encode(),
    b"-rf *",
)
TREE = {b"/exp/2016/" + name: bytes([n]) * (n * 997) for n, name in enumerate((*NASTY, b"deep/er/a b.dat", b"deep/a b.dat"))}
STEPS = (("Untouched", "JsonMade"), ("JsonMade", "PushDone"), ("PushDone", "NERSCRunning"), ("NERSCRunning", "NERSCDone"))
STEPS += (("NERSCDone", "NERSCClean"), ("NERSCClean", "LocalDeleted"), ("LocalDeleted", "LocalFilesDeleted"))


def sums(data: bytes) -> dict[str, Any]:
    """As the books have them."""
    return {"size": len(data), "sha512": hashlib.sha512(data).hexdigest(), "adler32": f"{zlib.adler32(data):08x}"}


def ours(files: Mapping[bytes, bytes]) -> bytes:
    """The manifest that lta-glue writes."""
    head = {"uuid": str(uuid.uuid4()), "component": "lta-glue", "version": 3, "file_count": len(files)}
    lines = [head, *({"name": names.encode(name), **sums(data)} for name, data in files.items())]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def theirs(files: Mapping[bytes, bytes], version: int = 3) -> bytes:
    """A manifest of WIPACrepo/lta."""
    head: dict[str, Any] = {
        "uuid": str(uuid.uuid4()),
        "component": "bundler",
        "version": version,
        "create_timestamp": "2021-03-04",
    }
    records = [
        {
            "uuid": "x",
            "logical_name": name.decode(),
            "file_size": len(data),
            "checksum": {"sha512": sums(data)["sha512"]},
            "locations": [{"site": "WIPAC", "path": name.decode()}],
        }
        for name, data in files.items()
    ]
    if version == 2:
        return json.dumps({**head, "files": records}).encode()
    return b"".join(json.dumps(line).encode() + b"\n" for line in ({**head, "file_count": len(records)}, *records))


def zipped(manifest: bytes | None, members: Mapping[bytes | str, bytes], *, tail: str = ".metadata.ndjson") -> bytes:
    """A stored zip with the manifest first."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as content:
        if manifest is not None:
            content.writestr("0b51f2a0-0000-4000-8000-000000000000" + tail, manifest)
        for name, data in members.items():
            content.writestr(_info(name), data)
    return made.getvalue()


def _info(name: bytes | str) -> zipfile.ZipInfo:
    """A member's name that is no UTF-8 is written as bytes of code page 437, as lta-glue's format has it."""
    raw = name if isinstance(name, bytes) else name.encode()
    try:
        return zipfile.ZipInfo(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return _Raw(raw.decode("cp437"))


class _Raw(zipfile.ZipInfo):
    """A name whose bytes are no UTF-8: zipfile would write it as if they were."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.filename.encode("cp437"), self.flag_bits


def bundle_of(files: Mapping[bytes, bytes]) -> bytes:
    """A bundle as lta-glue names its members."""
    return zipped(ours(files), {name.lstrip(b"/"): data for name, data in files.items()})


def tree(place: Path) -> dict[bytes, bytes]:
    """Every file below a directory, by its path there with a slash before it; a link's content is `-> ` and its target."""
    root = os.fsencode(place)
    found = {}
    for directory, directories, file_names in os.walk(root):
        for path in (os.path.join(directory, name) for name in (*directories, *file_names)):
            if os.path.islink(path):
                found[path[len(root) :]] = b"-> " + os.readlink(path)
            elif os.path.isfile(path):
                found[path[len(root) :]] = Path(os.fsdecode(path)).read_bytes()
    return found


@dataclass
class Archive(Outbound):
    """A HOME with a warehouse, and bundles that are proved on the tape of nersc."""

    def __post_init__(self) -> None:
        super().__post_init__()
        home_id(self.home)
        self.warehouse.mkdir(parents=True, exist_ok=True)

    @property
    def demo(self) -> Path:
        return self.home / "demo/lta"

    @property
    def warehouse(self) -> Path:
        return self.demo / "warehouse"

    def on_tape(self, ideal: str) -> Path:
        """Where the tape has a bundle."""
        return self.demo / "remote/tape" / ideal.lstrip("/")

    def lay(self, files: Mapping[bytes, bytes], place: Path | None = None) -> None:
        """These files in the warehouse."""
        for name, data in files.items():
            path = os.fsencode(place or self.warehouse) + name
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(os.fsdecode(path)).write_bytes(data)

    def bundle(
        self,
        ideal: str,
        data: bytes,
        files: Mapping[bytes, bytes] | None = None,
        *,
        state: str = "LocalDeleted",
        destination: str = "nersc",
        sources: bool = True,
        directory_id: int | None = None,
    ) -> Bundle:
        """A bundle of the books, its zip on tape; `files`: what the tables say of what is in it, and where it lay."""
        place = self.on_tape(ideal)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        with self.books() as books:
            home = home_id(self.home)
            new = NewBundle(
                destination=destination, ideal=ideal, home=home, name=names.file_url(self.outbound / ideal.lstrip("/")),
                files=len(files) if files is not None else None, directory_id=directory_id, **sums(data),
            )  # fmt: skip
            (made,) = answer(books, AddBundles(bundles=(new,)), Added).bundles
            if files:
                books.do(AddFiles(id=made.id, files=tuple(self._file(name, one, sources) for name, one in files.items())))
            return self._bring(books, made, state, data)

    def _file(self, name: bytes, data: bytes, sources: bool) -> NewFile:
        where: dict[str, Any] = {}
        path = os.fsencode(self.warehouse) + name
        if sources and os.path.exists(path):
            where = {"source": names.encode(path), "mtime_ns": os.stat(path).st_mtime_ns}
        return NewFile(name=names.encode(name), **sums(data), **where)

    def _bring(self, books: Any, made: Bundle, state: str, data: bytes) -> Bundle:
        if made.state == state:
            return made
        ask = Claim(states=("Untouched",), destination=made.destination, holder="steps", ids=(made.id,))
        (held,) = answer(books, ask, Bundles).bundles
        for before, to in STEPS:
            more = {**sums(data)} if to in ("PushDone", "NERSCDone") else {}
            last = to == state
            move = BundleMove(id=made.id, fence=held.fence, before=before, to=to, keep=not last, **more)
            (held,) = answer(books, Advance(moves=(move,)), Bundles).bundles
            if last:
                return held
        raise AssertionError(f"no step leads to {state}")

    def directory(self, ideal: str, files: int) -> Directory:
        """A full directory whose bundles are made."""
        path = names.encode(os.fsencode(self.warehouse) + names.decode(ideal))
        with self.books() as books:
            books.do(Expect(expected=(NewExpected(ideal=ideal, files=files),)))
            books.do(Full(home=home_id(self.home), seen=(Seen(ideal=ideal, path=path, files=files, bytes=1),)))
            ask = ClaimDirectories(states=("unclaimed",), home=home_id(self.home), holder="steps")
            (held,) = answer(books, ask, Directories).directories
            for before, to in (("unclaimed", "processing"), ("processing", "LTArequest")):
                move = DirectoryMove(id=held.id, fence=held.fence, before=before, to=to, keep=to == "processing")
                (held,) = answer(books, AdvanceDirectories(moves=(move,)), Directories).directories
            return held

    # ---- the remote site, by its asks alone

    def remote(self) -> int:
        """Brings what is wanted back into the export directory, and cleans up what has arrived; how many steps it made."""
        with self.books("worker", "nersc") as books:
            done = [self._export(books, one) for one in self._errands(books, "RetrieveRequest")]
            done += [self._clean(books, one) for one in self._errands(books, "DownloadDone")]
        return len(done)

    def restore(self, *args: object, rounds: int = 6) -> Result:
        """Runs until nothing is waited for; the remote site and FTS do their part between."""
        for _ in range(rounds):
            done = self.run("lta-restore", *args, "--json").gave(0, 1, 75)
            if done.code != 75:
                return done
            self.remote()
            self.over()
        raise AssertionError(f"still waiting: {done}")

    def at_once(self, n: int, *args: object) -> list[Result]:
        """The same command several times at once."""
        with ThreadPoolExecutor(n) as pool:
            return list(pool.map(lambda _: self.run(*args), range(n)))  # type: ignore[arg-type]

    def _errands(self, books: Any, *states: str) -> tuple[Errand, ...]:
        return answer(books, ClaimErrands(states=states, destination="nersc", most=100, holder="cori01"), Errands).errands

    def _step(self, books: Any, errand: Errand, to: str, **more: Any) -> Errand:
        move = ErrandMove(id=errand.id, fence=errand.fence, before=errand.state, to=to, **more)
        return answer(books, AdvanceErrands(moves=(move,)), Errands).errands[0]

    def _export(self, books: Any, errand: Errand) -> Errand:
        errand = self._step(books, errand, "RetrievePending", keep=True)
        place = self.demo / "remote/export" / f"{errand.id}.zip"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(self.on_tape(names.shown(errand.bundle.ideal)).read_bytes())
        return self._step(books, errand, "ExportReady", sha512=errand.bundle.sha512, place=names.file_url(place))

    def killed_between(self) -> None:
        """A run was killed when it had booked Downloading, and had put nothing on the road yet."""
        with self.books() as books:
            (errand, *_) = self._errands(books, "ExportReady")
            self._step(books, errand, "Downloading")
        self.due_errands()

    def _clean(self, books: Any, errand: Errand) -> Errand:
        (self.demo / "remote/export" / f"{errand.id}.zip").unlink()
        return self._step(books, errand, "RemoteCleaned")

    def reads_again(self, *, differs: str = "") -> None:
        """The remote site does its fixity errands; this bundle differs."""
        with self.books("worker", "nersc") as books:
            for errand in self._errands(books, "FixityRequest"):
                held = self._step(books, errand, "FixityRunning", keep=True)
                if errand.bundle.ideal == differs:
                    self._step(books, held, "FixityProblem", differs=True, why="the tape has another sha512")
                else:
                    self._step(books, held, "FixityDone", sha512=errand.bundle.sha512)

    def errands(self, kind: str = "recall") -> list[Errand]:
        """All of a kind."""
        with self.books() as books:
            return list(answer(books, ListErrands(kind=kind, limit=1000), Errands).errands)

    def due_errands(self) -> None:
        """What waits may go now."""
        with self.database() as db:
            db.execute("UPDATE lta_errand SET ready = since")

    def journal(self, kind: str) -> list[tuple[str, str]]:
        """Changes of state."""
        return [tuple(row) for row in self.sql(f"SELECT from_state, to_state FROM journal WHERE kind = '{kind}' ORDER BY id")]


def whats(result: Result) -> list[str]:
    """What a command told: the `what` of its problems."""
    return [one["what"] for one in result.json["errors"]]


def said(result: Result) -> str:
    """All that its problems say."""
    return " ".join(" ".join(one.values()) for one in result.json["errors"])
