"""The status page as people have it: a real dm-web, accounts made at the terminal, and persons with browsers of requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import Server, run

PASSWORD = "correct horse battery"


@dataclass
class Person:
    """One browser at the status page; it sends what a person's browser would send."""

    url: str
    browser: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.browser.get(self.url + path, timeout=30, **options)

    def post(self, path: str, given: dict[str, str], **options: Any) -> requests.Response:
        return self.browser.post(self.url + path, data=given, timeout=30, **options)

    def mark(self, path: str = "/") -> str:
        """What the page's forms send back to prove that they are the page's own."""
        found = re.search(r'name="mark" value="([^"]*)"', self.get(path).text)
        assert found
        return found[1]

    def sign_in(self, name: str, password: str = PASSWORD, **options: Any) -> requests.Response:
        mark = self.mark("/sign-in")
        return self.post("/sign-in", {"mark": mark, "name": name, "password": password, "next": "/"}, **options)

    def order(self, word: str, scope: str, reason: str = "", until: str = "") -> requests.Response:
        return self.post("/control", {"mark": self.mark(), "word": word, "scope": scope, "reason": reason, "until": until})

    def is_signed_in(self) -> bool:
        return self.get("/fragment").status_code == 200


def add_user(home: Path, name: str, role: str, password: str = PASSWORD) -> None:
    run("dm-web", "user", "add", name, "--role", role, home=home, stdin=f"{password}\n").ok()


def kept_bytes(home: Path) -> bytes:
    """All that the database's files hold."""
    return b"".join(path.read_bytes() for path in home.glob("dmtools.db*"))


@pytest.fixture
def web(home: Path, serve: Callable[..., Server]) -> Server:
    """dm-web with the shifter anna."""
    add_user(home, "anna", "shifter")
    return serve("dm-web", "--port", 0, home=home)


@pytest.fixture
def anna(web: Server) -> Person:
    """A shifter, signed in."""
    found = Person(web.url)
    assert found.sign_in("anna").status_code == 200
    return found
