"""One place of the raw area (a live page, an old run) -> its place in the public area; what is there tells what was done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dmtools.dqm import generations, record
from dmtools.dqm.generations import Generation, Torn
from dmtools.dqm.parsing.found import RULES, FoundPage, NotUnderstood, Trouble
from dmtools.dqm.parsing.making import Made, Maker, Of
from dmtools.dqm.parsing.understanding import grabbed, understand
from dmtools.dqm.record import Page

_PAGES = ("page.html", "documents.json")


@dataclass(frozen=True)
class Outcome:
    """What became of a raw generation. `page` is what it holds, None when it is not understood; `news`: it was published now."""

    raw: Generation
    page: Page | None
    link: str = ""
    troubles: tuple[Trouble, ...] = ()
    news: Generation | None = None


class Place:
    """`look` asks the directory alone; files are read when a generation is there that was not looked at yet."""

    def __init__(self, raw: Path, public: Path, of: tuple[str, int | None], maker: Maker) -> None:
        self._raw, self.public_place, self._maker = raw, public, maker
        self._site, self._run = of
        self._mark = ""  # of the raw generation that was looked at last
        self._top = 0
        self.raw: Generation | None = None  # the same, since this process began
        self.public = generations.newest(public)
        self.shown = record.read(self.public.path / "page.json", Page) if self.public else None
        if self.shown is not None and self.public and self.public.manifest.facts.get("rules") == RULES:
            self._mark = self.public.manifest.facts.get("raw", "")

    def look(self, *, dry_run: bool = False) -> Outcome | None:
        """Publishes what is new; None: nothing is. Raises OSError; then it is tried again."""
        if self.public is not None and not self.public.path.is_dir():  # somebody emptied the public area
            self.public, self._mark, self._top = None, "", 0
        top = generations.top(self._raw)
        if top == self._top:
            return None
        for raw in generations.every(self._raw):
            if raw.mark == self._mark:
                self._done(raw, top)
                return None
            try:
                files = generations.load(raw, [name for name in raw.manifest.files if name in _PAGES or _is_graph(name)])
            except Torn:
                continue
            found = self._take(raw, files, dry_run=dry_run)
            self._done(raw, top)
            return found
        return None  # there is none, or it is half brought, or torn: it is looked at again

    def _done(self, raw: Generation, top: int) -> None:
        self._mark, self.raw = raw.mark, raw
        if raw.number >= top:
            self._top = top

    def _take(self, raw: Generation, files: dict[str, bytes], *, dry_run: bool) -> Outcome:
        try:
            found = understand(files, raw, self._run)
        except NotUnderstood as problem:
            return Outcome(raw, None, troubles=problem.troubles)
        except Exception as problem:  # noqa: BLE001 - whatever is in a page: it stops neither the others nor the loop
            return Outcome(raw, None, troubles=(Trouble("failed", f"{type(problem).__name__}: {problem}"),))
        link = record.worst_link([one.state for one in found.links])
        if self._is_empty(found):
            return Outcome(raw, self.shown, link, tuple(found.troubles))
        graphs = {name: files[name] for name in sorted((one for one in files if _is_graph(one)), key=_number)}
        made = self._maker.make(found, Of(self._site, self._run is None, grabbed(raw)), graphs)
        return Outcome(raw, made.page, link, tuple(found.troubles), None if dry_run else self._publish(raw, made))

    def _is_empty(self, found: FoundPage) -> bool:
        """A page that has lost its source before it had any data says nothing of the run that is shown."""
        empty = found.run is None and not found.jobs and found.links
        return bool(empty and self.shown is not None and all(link.state != record.OPEN for link in found.links))

    def _publish(self, raw: Generation, made: Made) -> Generation | None:
        facts = self.public.manifest.facts if self.public and self.public.path.is_dir() else {}
        self.shown = made.page
        if facts.get("record") == made.sum and facts.get("rules") == RULES:
            return None
        self.public = generations.publish(self.public_place, made.files, {"raw": raw.mark, "record": made.sum, "rules": RULES})
        return self.public


def _is_graph(name: str) -> bool:
    return name.startswith("graph-") and name.endswith(".png") and name[6:-4].isdecimal()


def _number(name: str) -> int:
    return int(name[6:-4])
