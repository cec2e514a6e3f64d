"""dqm-server before a public area, and what tests ask of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from tests.dqm import public
from tests.dqm.pages import Job
from tests.support import Server


@dataclass
class Mirror:
    """A running server; `home` is where its public area is."""

    server: Server
    home: Path

    @property
    def url(self) -> str:
        return self.server.url

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(urljoin(self.url, path), timeout=30, **options)

    def health(self, site: str = "production") -> dict[str, Any]:
        found: dict[str, Any] = self.get("/api/v1/health").json()["sites"][site]
        return found

    def text(self, path: str = "/sites/production/fragment") -> str:
        """A page as it is read: without tags, one blank between words."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.get(path).text)).split())


def settings(home: Path, **keys: object) -> None:
    """Keys of [dqm]."""
    lines = [f"{name} = {value if isinstance(value, int | float) else repr(value)}" for name, value in keys.items()]
    (home / "dmtools.toml").write_text("\n".join(["[dqm]", *lines, ""]))


def start(home: Path, serve: Callable[..., Server], jobs: int | list[Job] = 6, port: int = 0, **keys: object) -> Mirror:
    """A fresh public area and a server before it."""
    settings(home, **keys)
    public.tree(home, jobs, old_runs=2)
    return Mirror(serve("dqm-server", "--port", port, home=home), home)


def crawl(mirror: Mirror, first: tuple[str, ...]) -> dict[str, requests.Response]:
    """Every address that is named by a page or an answer, from the first ones on."""
    place, found = urlsplit(mirror.url).netloc, {}
    todo = [urljoin(mirror.url, one) for one in first]
    while todo:
        address = todo.pop()
        if address in found or urlsplit(address).netloc != place or len(found) > 400:
            continue
        answer = found[address] = requests.get(address, timeout=30, allow_redirects=False)
        if "html" in answer.headers["Content-Type"]:
            named = re.findall(r'(?:href|src|action)="([^"#]*)', answer.text)
        elif "json" in answer.headers["Content-Type"]:
            named = re.findall(r'"(/[^"]*)"', answer.text)
        else:
            named = []
        todo += [urljoin(address, unescape(one)) for one in named if "sort=" not in one]
    return found
