"""A log to be read: text alone, with line numbers and what a search found marked."""

from __future__ import annotations

import re

from dmtools.dqm.serving.faces import Faces
from dmtools.dqm.serving.watching import Site
from dmtools.web.sheets import safe

LINES = 5000  # that are shown at once; the plain text has all


def page(site: Site, faces: Faces, title: str, data: bytes, raw: str, q: str, *, only: bool) -> bytes:
    """The page of a log. `raw`: the address of the plain text; `q`: what is looked for; `only`: the lines alone that hold it."""
    lines = data.decode("utf-8", "replace").splitlines()
    wanted = re.compile(re.escape(q), re.IGNORECASE) if q else None
    hits = {n for n, line in enumerate(lines) if wanted and wanted.search(line)}
    picked = sorted(hits) if only and wanted else range(len(lines))
    shown = picked[-LINES:]
    text = "\n".join(_line(n, lines[n], wanted if n in hits else None) for n in shown)
    first = next((f"L{n + 1}" for n in shown if n in hits), "")
    body = faces.sheets.render(
        "log",
        title=title,
        q=q,
        only=only,
        first=first,
        raw=raw,
        text=text,
        said=_said(len(lines), len(hits), q, len(shown), len(picked)),
    )
    return faces.whole(title, body, site=site.name)


def _said(lines: int, hits: int, q: str, shown: int, picked: int) -> str:
    told = f"{lines:,} {'line' if lines == 1 else 'lines'}"
    if q:
        told += f"; {hits:,} {'holds' if hits == 1 else 'hold'} “{q}”"
    return told + (f"; the last {shown:,} are shown, the plain text has all." if shown < picked else ".")


def _line(n: int, text: str, wanted: re.Pattern[str] | None) -> str:
    number = f'<span class="no" id="L{n + 1}">{n + 1}</span> '
    if wanted is None:
        return number + safe(text)
    parts, end = [], 0
    for found in wanted.finditer(text):
        parts += [safe(text[end : found.start()]), f"<mark>{safe(found[0])}</mark>"]
        end = found.end()
    return number + "".join(parts) + safe(text[end:])
