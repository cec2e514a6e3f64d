"""One bundle of a plan: built under a hidden name, kept in the notes, put in place, added to the tables with its files.

Each step may be repeated: the bytes are the same each time, and what stands there already is proved instead of made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dmtools import names
from dmtools.control.passes import Pass
from dmtools.lta import outbound, sums
from dmtools.lta.api import Books, Done, answer
from dmtools.lta.api.bundles import AddBundles, Added, Bundles, Known, NewBundle
from dmtools.lta.api.directories import Catalogue, Directory, LookUp
from dmtools.lta.api.files import AddFiles, NewFile
from dmtools.lta.glue import plans
from dmtools.lta.glue.building import Mismatch, build
from dmtools.lta.glue.layout import File, Layout
from dmtools.lta.glue.manifest import Record
from dmtools.lta.glue.plans import Made, Plan, Shelf
from dmtools.storage.answers import StorageError
from dmtools.storage.publish import acting, fsync_directory, hidden, is_at, open_temporary, prepare, rename_new

MANY = 1000  # in one ask


@dataclass
class Maker:
    """Makes bundles of one directory; `beat` keeps its claim."""

    this: Pass
    books: Books
    home: str
    directory: Directory
    shelf: Shelf
    beat: Callable[[], None]

    def make(self, plan: Plan, number: int) -> int:
        """The bundle is in outbound and in the tables; 1 when it is new there. Raises Mismatch, StorageError, api.Problem."""
        uuid = plan.uuid(number)
        ideal = f"{plan.ideal}/{uuid}.zip"
        made = self.shelf.made(uuid)
        if made is None or not (self._stands(ideal, made) or self._known(ideal, made)):
            made = self._build(uuid, ideal, plan.files(number, names.decode(self.directory.path)))
        return self._add(ideal, made)

    def _stands(self, ideal: str, made: Made) -> bool:
        """Is its zip in place?"""
        try:
            found = os.lstat(outbound.zip_of(self.this.settings, ideal))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return found.st_size == made.sum.size

    def _known(self, ideal: str, made: Made) -> bool:
        """Was it added, and has it gone its way meanwhile?"""
        ask = Known(destination=self.this.settings.lta.destination, names=(ideal,))
        return any(bundle.sha512 == made.sum.sha512 for bundle in answer(self.books, ask, Bundles).bundles)

    def _build(self, uuid: str, ideal: str, files: Sequence[File]) -> Made:
        layout, target = Layout(uuid, files), outbound.zip_of(self.this.settings, ideal)
        wanted = self._catalogue(files)
        directory = os.path.dirname(target)
        self._refuse_no_room(layout.size)
        prepare(target, True)
        temporary = hidden(target, str(self.directory.fence))
        with acting(target, "written"):
            handle = open_temporary(temporary)
        try:
            with acting(target, "written"):
                os.fchmod(handle, 0o640)
            stall = float(self.this.settings.lta.disk_seconds)
            built = build(layout, handle, target, wanted, stall=stall, each=self.beat)
            found = plans.Sum(uuid, built.sums.size, built.sums.sha512, built.sums.adler)
            made = Made(found, built.records)
            self.shelf.keep_made(made)
            self.beat()
            with acting(target, "written"):
                _put_in_place(temporary, target, made)
                fsync_directory(directory)
        finally:
            if is_at(handle, temporary):
                os.unlink(temporary)
            os.close(handle)
        self.this.log(f"{names.shown(ideal)}: {len(files)} files, {made.sum.size:,} bytes")
        return made

    def _refuse_no_room(self, size: int) -> None:
        free = outbound.free(self.this.settings)
        if free is not None and free < size:
            raise StorageError("full", f"the next bundle has {size:,} bytes, {free:,} are free in outbound", wide=True)

    def _catalogue(self, files: Sequence[File]) -> dict[str, tuple[int, str]]:
        """What the catalogue has of them: LFN -> (size, sha512)."""
        found: dict[str, tuple[int, str]] = {}
        for start in range(0, len(files), MANY):
            ask = LookUp(lfns=tuple(file.name for file in files[start : start + MANY]))
            found |= {one.lfn: (one.size, one.sha512) for one in answer(self.books, ask, Catalogue).files}
        return found

    def _add(self, ideal: str, made: Made) -> int:
        """Tables: the bundle, then what is in it."""
        destination, one = self.this.settings.lta.destination, made.sum
        name = names.file_url(outbound.root(self.this.settings)) + ideal
        new = NewBundle(
            destination=destination, ideal=ideal, home=self.home, name=name, size=one.size,
            sha512=one.sha512, adler32=one.adler32, files=len(made.records), directory_id=self.directory.id,
        )  # fmt: skip
        added = answer(self.books, AddBundles(bundles=(new,)), Added)
        for start in range(0, len(made.records), MANY):
            files = tuple(map(self._file, made.records[start : start + MANY]))
            answer(self.books, AddFiles(id=added.bundles[0].id, files=files), Done)
            self.beat()
        self.this.moved("", added.bundles[0].state, added.new)
        return added.new

    def _file(self, record: Record) -> NewFile:
        assert record.sha512 is not None
        assert record.adler32 is not None
        source = self.directory.path + record.name.removeprefix(self.directory.ideal)
        return NewFile(
            name=record.name, size=record.size, sha512=record.sha512, adler32=record.adler32, source=source,
            mtime_ns=record.mtime_ns,
        )  # fmt: skip


def _put_in_place(temporary: bytes, target: bytes, made: Made) -> None:
    """Its name, never over something else: what stands there must be just this bundle. Raises Mismatch."""
    try:
        rename_new(temporary, target)
    except FileExistsError:
        found = sums.read(target)
        if (found.size, found.sha512) != (made.sum.size, made.sum.sha512):
            shown = names.shown(names.encode(target))
            raise Mismatch(f"another file stands at {shown}, where one of its bundles belongs; it was left") from None
