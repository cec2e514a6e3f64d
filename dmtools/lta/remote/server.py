"""What the remote site asks of lta-rest-server: plain JSON in, plain JSON out."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dmtools.command.run import Refused, Unavailable
from dmtools.lta import wire
from dmtools.lta.distrust import unknown_token, untrusted
from dmtools.lta.remote.settings import Remote

COMPONENT = "nersc-client"
PAGE = 1000
LEFT = "tape jobs go on; their results are kept and told to the server later"
Thing = dict[str, Any]  # a bundle or an errand, as the server gives it


class Server:
    """The server of [lta] url. All but `change` raise Unavailable when it is away, and Refused for a token that is not good."""

    def __init__(self, settings: Remote, holder: str) -> None:
        self.settings, self.holder = settings, holder
        token = read_token(Path(settings.token_file))
        try:
            seconds = float(settings.server_seconds)
            self._wire = wire.Wire(settings.url, token, settings.ca_file, seconds=seconds, patience=seconds)
        except (wire.Refused, OSError) as problem:  # the address; the certificate authority
            raise Refused(f"[lta] url {settings.url}, ca_file {settings.ca_file or 'of the system'}: {problem}") from None
        self._at = {"destination": settings.destination}

    def word(self) -> str:
        """Run, halt or drain, as the source has it for this component."""
        return str(self._get(f"/control/{COMPONENT}")["word"])

    def heartbeat(self, told: Thing) -> None:
        """How this site is."""
        self._post(f"/sites/{self.settings.destination}/heartbeat", told)

    def bundles(self, *states: str) -> Iterator[Thing]:
        """The bundles for this site in these states."""
        return self._pages("/bundles", "bundles", {"states": list(states), **self._at})

    def known(self, names: Sequence[str]) -> list[Thing]:
        """The live bundles for this site that have these ideal names."""
        found: list[Thing] = []
        for first in range(0, len(names), PAGE):
            found += self._post("/bundles/known", {"names": list(names[first : first + PAGE]), **self._at})["bundles"]
        return found

    def errands(self, *states: str) -> Iterator[Thing]:
        """The errands for this site in these states."""
        found = self._pages("/errands", "errands", {"states": list(states)})
        return (one for one in found if one["destination"] == self.settings.destination)

    def claim(self, what: str, states: Sequence[str], most: int, ids: Sequence[int] = ()) -> list[Thing]:
        """Claims `bundles` or `errands`."""
        ask = {"states": list(states), "most": most, "holder": self.holder, "seconds": self.settings.lease_seconds}
        found: list[Thing] = self._post(f"/{what}/claim", {**ask, **self._at, **({"ids": list(ids)} if ids else {})})[what]
        return found

    def extend(self, what: str, things: Sequence[Thing], seconds: int) -> None:
        """Keeps claims longer."""
        for first in range(0, len(things), PAGE):
            held = [{"id": one["id"], "fence": one["fence"]} for one in things[first : first + PAGE]]
            self._post(f"/{what}/extend", {"held": held, "seconds": seconds})

    def release(self, what: str, things: Sequence[Thing]) -> None:
        """Hands claims back."""
        if things:
            self._post(f"/{what}/release", {"held": [{"id": one["id"], "fence": one["fence"]} for one in things]})

    def change(self, what: str, thing: Thing, to: str, **more: Any) -> Thing | None:
        """Changes a state; None: it stands otherwise by now, another one was faster, and nothing was changed."""
        move = {"id": thing["id"], "fence": thing["fence"], "before": thing["state"], "to": to, **more}
        try:
            found: Thing = self._post(f"/{what}/advance", {"moves": [move]})[what][0]
        except wire.Refused as problem:
            if problem.status in (404, 409):
                return None
            raise self._refused(problem) from None
        return found

    def _pages(self, path: str, what: str, params: Thing) -> Iterator[Thing]:
        after = 0
        while after is not None:
            page = self._get(path, **params, after=after, limit=PAGE)
            yield from page[what]
            after = page["next"]

    def _get(self, path: str, **params: Any) -> Any:
        try:
            return self._wire.get(path, params)
        except wire.Away as problem:
            raise self._away(problem) from None
        except wire.Untrusted as problem:
            raise untrusted(self.settings.url, self.settings.ca_file, problem, LEFT) from None
        except wire.Refused as problem:
            raise self._refused(problem) from None

    def _post(self, path: str, body: Thing) -> Any:
        try:
            return self._wire.post(path, body)
        except wire.Away as problem:
            raise self._away(problem) from None
        except wire.Untrusted as problem:
            raise untrusted(self.settings.url, self.settings.ca_file, problem, LEFT) from None
        except wire.Refused as problem:
            if problem.status in (404, 409) and path.endswith("/advance"):
                raise
            raise self._refused(problem) from None

    def _away(self, problem: Exception) -> Unavailable:
        return Unavailable("server away", self.settings.url, str(problem), "the next pass asks again", left=LEFT)

    def _refused(self, problem: wire.Refused) -> Exception:
        if problem.status not in (401, 403):
            return Unavailable(
                "server refuses", self.settings.url, str(problem), "is this client as new as the server?", left="tape jobs go on"
            )
        if problem.status == 401:
            like = f"--role worker --site {self.settings.destination} NAME"
            return unknown_token(self.settings.url, self.settings.token_file, like, LEFT)
        why = f"the token of {self.settings.token_file} may not do this at {self.settings.url}: {problem}"
        return Refused(f"{why}; it must be that of a worker at {self.settings.destination}, the site of [lta] destination")


def read_token(path: Path) -> str:
    """The token, of a file that its owner alone may read. Raises Refused."""
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Refused(f"the token {path} may be read by others; mend it with: chmod 600 {path}")
        found = path.read_text("ascii").strip()
    except OSError as problem:
        step = "have it made at the source: lta-rest-server token add --role worker --site SITE NAME, and put it there, mode 0600"
        raise Refused(f"the token {path} can't be read: {problem.strerror}; {step}") from None
    except UnicodeDecodeError:
        found = ""
    if not found or not found.isprintable() or " " in found:
        raise Refused(f"the file {path} holds no token: it must be one word")
    return found
