"""One question to the logger's ACL page, and its answer as it comes in. The page decodes `+`, `%20` and `%27` alone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from dmtools.control import simulated
from dmtools.datalogger import wall
from dmtools.datalogger.event_reading import EventReader, EventReading
from dmtools.datalogger.reading import SAID, Reader, Reading, Trouble
from dmtools.settings import Datalogger, Settings

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

HTTP, SILENT, CUT, LARGE = "http", "silent", "cut", "large"  # the classes of a trouble, beside those of reading
PIECE = 1 << 20
TAGS = re.compile(r"<(title|style|script)\b[^>]*>.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
MOST = 1 << 29  # bytes of an answer
MARGIN = 2.0  # at least so many seconds past the end are asked for, too: what comes from there proves that no tail is cut off


class Away(Exception):
    """The logger can't be reached; the text says why."""


@dataclass(frozen=True)
class Address:
    """Where the page is; a simulator wants its token."""

    url: str
    token: str = ""


def address(settings: Settings) -> Address:
    """Of [datalogger] url. Raises Away when the simulator does not run."""
    url = settings.datalogger.url
    if not url.startswith("sim:"):
        return Address(url)
    try:
        base, token = simulated.address(settings.home, url[4:])
    except simulated.NotRunning as problem:
        raise Away(str(problem)) from None
    return Address(f"{base}/cgi-bin/acl.pl", token)


class Logger:
    """The logger at its address; each question has a connection of its own."""

    def __init__(self, where: Address, limits: Datalogger) -> None:
        self.where, self._limits = where, limits
        self._zone = ZoneInfo(limits.timezone)

    def samples(self, node: str, device: str, start: float, end: float, margin: float = MARGIN) -> Reading:
        """The samples of [start, end), UTC seconds; what is asked for is `margin` seconds more. Raises Trouble, Away."""
        first, last = wall.asked(start, end + margin, self._zone)
        command = f'logger_get/date_format=\'utc_seconds\'/ignore_db_format/start="{first}"/end="{last}"/node={node}+{device}'
        reader = Reader(start, end)
        for piece in self._answer(command):
            reader.feed(piece)
        return reader.close()

    def events(self, event: str, start: float, end: float, margin: float = MARGIN) -> EventReading:
        """The events of [start, end) of two hex digits; of a long answer the first part, as `full` says. Raises Trouble, Away."""
        first, last = wall.asked(start, end + margin, self._zone, whole=True)
        reader = EventReader(start, end, self._zone)
        for piece in self._answer(f'event_log/start_time="{first}"/stop_time="{last}"/event={event}'):
            reader.feed(piece)
            if reader.full:
                return reader.close(cut=True)
        return reader.close()

    def text(self, command: str) -> str:
        """A short answer, without HTML. Raises Trouble when it is an error's text, Away."""
        text = b"".join(self._answer(command)).decode("ascii", "replace")
        bare = TAGS.sub(" ", text)
        if re.match("!", bare.strip()) or re.search(r" - [A-Z][A-Z0-9]*_[A-Z0-9_]+\s*$", bare, re.MULTILINE):
            raise Trouble(SAID, " ".join(bare.split())[:120])
        return bare

    def logged_on(self, device: str) -> list[str]:
        """The nodes that log a device. Raises Trouble, Away."""
        words = self.text(f"show/whereLogged+{device}").replace(device, " ").replace(",", " ").split()
        return [word for word in words if re.fullmatch(r"[A-Z][A-Za-z0-9_-]+", word) and word not in ("Node", "Nodes", "Device")]

    def _answer(self, command: str) -> Iterator[bytes]:
        """The answer in pieces. Raises Trouble, Away."""
        from http.client import HTTPException

        deadline = time.monotonic() + self._limits.answer_seconds
        connection = self._connected()
        had = 0
        try:
            response = self._asked(connection, command)
            while piece := response.read(PIECE):
                had += len(piece)
                if time.monotonic() > deadline:
                    raise Trouble(
                        SILENT, f"the answer was not over after {self._limits.answer_seconds:g} s; {had} bytes had come"
                    )
                if had > MOST:
                    raise Trouble(LARGE, f"the answer has more than {MOST} bytes")
                yield piece
        except TimeoutError:
            text = f"nothing came for {self._limits.silence_seconds:g} s; {had} bytes had come"
            raise Trouble(SILENT, text) from None
        except (HTTPException, OSError) as problem:
            raise Trouble(CUT, f"the answer broke off after {had} bytes: {str(problem) or type(problem).__name__}") from None
        finally:
            connection.close()

    def _connected(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        parts = urlsplit(self.where.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection: Any = kind(str(parts.hostname), parts.port, timeout=self._limits.connect_seconds)
        try:
            connection.connect()
        except OSError as problem:
            raise Away(f"{self.where.url} can't be reached: {problem.strerror or problem}") from None
        connection.sock.settimeout(self._limits.silence_seconds)
        made: HTTPConnection = connection
        return made

    def _asked(self, connection: HTTPConnection, command: str) -> HTTPResponse:
        connection.putrequest("GET", f"{urlsplit(self.where.url).path}?acl={command}", skip_accept_encoding=True)
        if self.where.token:
            connection.putheader("Authorization", f"Bearer {self.where.token}")
        connection.endheaders()
        response = connection.getresponse()
        if response.status != 200:
            raise Trouble(HTTP, f"the page answered {response.status} {response.reason}")
        return response
