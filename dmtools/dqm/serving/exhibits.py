"""What a generation holds for the server: the record, and the files that the record names; nothing else is ever given out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from dmtools.dqm import generations, record
from dmtools.dqm.generations import Generation, Torn
from dmtools.dqm.record import CRASHED, UNKNOWN, Page

PAGE = "page.json"
MEMORY_BYTES = 16 << 20  # of a live page's files; what is beyond is read when somebody asks
_PNG = b"\x89PNG\r\n\x1a\n"
LOG, GRAPH = "text/plain; charset=utf-8", "image/png"


@dataclass(frozen=True)
class File:
    """A log or graph: `kind` is its type; `sum16` stands in its address, so that is another one when the file is."""

    name: str
    kind: str
    sum16: str
    size: int


@dataclass(frozen=True)
class Exhibit:
    """One generation: `files` by name, and those of them that are in memory."""

    generation: Generation
    page: Page
    files: dict[str, File]
    memory: dict[str, bytes] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """What tells it from all others, for programs."""
        return self.generation.mark

    def bytes_of(self, name: str) -> bytes:
        """A file's bytes, proved. Raises Torn when it was cleaned away meanwhile."""
        found = self.memory.get(name)
        return generations.load(self.generation, {name})[name] if found is None else found


@dataclass(frozen=True)
class Run:
    """An old run: what the list of runs says of it. Its page is read when somebody asks."""

    generation: Generation
    number: int
    counts: dict[str, int]
    data: datetime | None
    grabbed: datetime
    files: dict[str, File]

    @property
    def is_bad(self) -> bool:
        """Has it a job that crashed, or one of which nobody knows?"""
        return bool(self.counts[CRASHED] or self.counts[UNKNOWN])


def exhibit(generation: Generation) -> Exhibit:
    """A live page, all its files proved. Raises Torn."""
    found = generations.load(generation)
    page = _page(generation, found.get(PAGE, b""))
    files = _files(generation, page)
    memory: dict[str, bytes] = {}
    room = MEMORY_BYTES
    for name, file in sorted(files.items(), key=lambda pair: pair[1].kind):  # graphs first
        if file.kind == GRAPH and not found[name].startswith(_PNG):
            raise Torn(f"{generation.path / name} is no PNG")
        if file.size <= room:
            memory[name], room = found[name], room - file.size
    return Exhibit(generation, page, files, memory)


def run(generation: Generation) -> Run:
    """An old run, all its files proved. Raises Torn."""
    found = exhibit(generation)
    page = found.page
    if page.live or page.run is None:
        raise Torn(f"{generation.path / PAGE} is not of an old run")
    return Run(generation, page.run, record.counts(page.jobs), page.data, page.grabbed, found.files)


def again(run: Run) -> Exhibit:
    """The page of an old run. Raises Torn when it was cleaned away meanwhile."""
    found = generations.load(run.generation, {PAGE})
    return Exhibit(run.generation, _page(run.generation, found[PAGE]), run.files)


def _page(generation: Generation, data: bytes) -> Page:
    try:
        return msgspec.json.decode(data, type=Page)
    except msgspec.MsgspecError as problem:
        raise Torn(f"{generation.path / PAGE} is no record of a page: {problem}") from None


def _files(generation: Generation, page: Page) -> dict[str, File]:
    listed = generation.manifest.files
    wanted = [(job.log, LOG, "log-", ".txt") for job in page.jobs if job.log]
    wanted += [(graph.file, GRAPH, "graph-", ".png") for graph in page.graphs]
    return {
        name: File(name, kind, listed[name].sha256[:16], listed[name].size)
        for name, kind, start, end in wanted
        if name in listed and name.startswith(start) and name.endswith(end)
    }
