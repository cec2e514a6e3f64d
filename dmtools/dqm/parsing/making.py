"""A FoundPage -> the files of a public generation: the record, its fragment, logs and graphs, all cleaned."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from dmtools.dqm.parsing import fragment, hosts, png
from dmtools.dqm.parsing.found import FoundJob, FoundPage
from dmtools.dqm.parsing.keys import Keys
from dmtools.dqm.parsing.redacting import Cleaner, Withheld
from dmtools.dqm.record import Graph, Job, Link, Page

BETWEEN = "\n...\n"  # the parts of a log
WITHHELD = "This log is withheld: it could not be cleaned of what is private ({}). It can be read inside.\n"
GRAPHS_MOST = 20


@dataclass(frozen=True)
class Made:
    """What is published. `sum` is that of its content without the times of reading: equal content, no new generation."""

    page: Page
    files: dict[str, bytes]
    sum: str


@dataclass(frozen=True)
class Of:
    """Whose page: the site, live or an old run, and when the robber got it first."""

    site: str
    live: bool
    grabbed: datetime


class Maker:
    """Makes public pages; what it learns from one it keeps for the next."""

    def __init__(self, cleaner: Cleaner, keys: Keys) -> None:
        self._cleaner, self._keys = cleaner, keys
        self._pictures: dict[bytes, bytes | None] = {}

    def make(self, found: FoundPage, of: Of, graphs: Mapping[str, bytes]) -> Made:
        """`graphs`: the grab's PNG files by their names, `graph-1.png` first."""
        self._cleaner.learn(found.secrets)
        self._cleaner.learn_of(part for job in found.jobs for part in job.logs)
        self._cleaner.forget_texts()
        files: dict[str, bytes] = {}
        jobs, withheld = [], 0
        for job in found.jobs:
            public, log, held = self._job(job)
            jobs.append(public)
            withheld += held
            if public.log is not None:
                files[public.log] = log
        pictures, lost = self._graphs(found, graphs, files)
        page = Page(
            site=of.site,
            live=of.live,
            run=found.run,
            original_run=found.original_run,
            grabbed=of.grabbed,
            data=max((job.at for job in found.jobs if job.at is not None), default=None),
            links=tuple(
                Link(name=hosts.short_uri(link.uri, self._keys, self._cleaner), state=link.state, said=link.word)
                for link in found.links
            ),
            jobs=tuple(jobs),
            runs=found.runs,
            graphs=pictures,
            withheld=withheld + lost,
        )
        return Made(page, {"page.json": msgspec.json.encode(page), "page.html": fragment.of(page), **files}, content(page, files))

    def _job(self, job: FoundJob) -> tuple[Job, bytes, int]:
        key = self._keys.of("job", job.id)
        tag = job.tag if job.tag is None or self._cleaner.is_innocent(job.tag) else None
        text, held = self._log(job)
        public = Job(
            key=key,
            host=hosts.short(job.host, self._keys, self._cleaner),
            state=job.state,
            at=job.at,
            age=job.age,
            exit_code=job.exit_code,
            tag=tag,
            lumi=job.lumi,
            rss_bytes=job.rss_bytes,
            events=job.events,
            rate=job.rate,
            log=f"log-{key}.txt" if job.logs else None,
        )
        return public, text.encode("utf-8", "replace"), held

    def _log(self, job: FoundJob) -> tuple[str, int]:
        try:
            return BETWEEN.join(self._cleaner.text(part) for part in job.logs) + "\n", 0
        except Withheld as why:
            return WITHHELD.format(why), 1

    def _graphs(self, found: FoundPage, graphs: Mapping[str, bytes], files: dict[str, bytes]) -> tuple[tuple[Graph, ...], int]:
        """The pictures that may be shown, put to the files, and how many may not. Their names are ours, never the page's."""
        shown, lost = [], max(0, len(graphs) - GRAPHS_MOST)
        names = found.graphs if len(found.graphs) == len(graphs) else ()
        for number, data in enumerate(list(graphs.values())[:GRAPHS_MOST]):
            picture = self._picture(data)
            if picture is None:
                lost += 1
                continue
            file = f"graph-{number + 1}.png"
            files[file] = picture
            shown.append(Graph(name=(names[number] if names else "") or str(number + 1), file=file))
        return tuple(shown), lost

    def _picture(self, data: bytes) -> bytes | None:
        """Cleaned; None: it can't be. Most are those of the grab before."""
        if data not in self._pictures:
            if len(self._pictures) > 100:
                self._pictures.clear()
            try:
                self._pictures[data] = png.cleaned(data)
            except png.NoPicture:
                self._pictures[data] = None
        return self._pictures[data]


def content(page: Page, files: Mapping[str, bytes]) -> str:
    """A sum over what is shown, without the times of reading."""
    jobs = tuple(msgspec.structs.replace(job, age=None) for job in page.jobs)
    timeless = msgspec.structs.replace(page, jobs=jobs, grabbed=datetime.min.replace(tzinfo=page.grabbed.tzinfo))
    whole = hashlib.sha256(msgspec.json.encode(timeless))
    for name in sorted(files):
        whole.update(name.encode() + hashlib.sha256(files[name]).digest())
    return whole.hexdigest()
