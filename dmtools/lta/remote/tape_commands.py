"""A tape system by the site's own commands: [lta] tape_commands, lists of words with {local}, {tape} and {to} among them.

available       exit code 0: it can be used
list {tape}     exit code 0; the size in bytes as the first word of its one line, or nothing: no such file
checksum {tape} exit code 0; the sha512 that the tape has, as the first word of its one line, or nothing: it has none
put {local} {tape}, get {tape} {local}, rename {tape} {to}, remove {tape}    exit code 0: done
verify {tape}   exit code 0: read again and right, 1: it differs; without this command `checksum` must read the tape
"""

from __future__ import annotations

import re
from pathlib import Path

from dmtools.command.run import Refused
from dmtools.lta.remote.tape import TapeError, run, said
from dmtools.storage.deadline import Finished

NEEDED = ("available", "list", "checksum", "put", "get", "rename", "remove")
LOOK_SECONDS = 300.0
_SUM = re.compile(r"[0-9a-f]{128}\Z")
_PLACE = re.compile(r"\{(local|tape|to)\}")


class CommandTape:
    """The commands of a site. Raises Refused when one is missing."""

    def __init__(self, commands: dict[str, list[str]], seconds: float) -> None:
        missing = [name for name in NEEDED if not commands.get(name)]
        if missing:
            raise Refused(
                f"[lta] tape_commands lacks {', '.join(missing)}; needed are {', '.join(NEEDED)}, and verify if there is one"
            )
        self.commands, self.seconds = commands, seconds

    def trouble(self) -> str | None:
        """By `available`."""
        try:
            done = self._run("available", LOOK_SECONDS)
        except TapeError as problem:
            return problem.why
        return None if done.code == 0 else f"{self.commands['available'][0]} says that the tape is not available ({said(done)})"

    def check_name(self, path: str) -> None:
        """It is one word of an argument list: any will do."""

    def size(self, path: str) -> int | None:
        """By `list`."""
        word = self._word("list", path)
        if word is None:
            return None
        if not (word.isascii() and word.isdigit()):
            raise TapeError("unclear", f"what {self.commands['list'][0]} says of it is no size: {word[:100]}")
        return int(word)

    def checksum(self, path: str) -> str | None:
        """By `checksum`."""
        word = self._word("checksum", path)
        if word is not None and not _SUM.match(word):
            raise TapeError("unclear", f"what {self.commands['checksum'][0]} says of it is no sha512: {word[:100]}")
        return word

    def reread(self, path: str) -> bool:
        """By `verify`."""
        if not self.commands.get("verify"):
            return True
        done = self._run("verify", self.seconds, tape=path)
        if done.code not in (0, 1):
            raise TapeError("unclear", f"{self.commands['verify'][0]} failed ({said(done)})")
        return done.code == 0

    def put(self, local: Path, path: str) -> None:
        """By `put`."""
        self._do("put", self.seconds, local=str(local), tape=path)

    def get(self, path: str, local: Path) -> None:
        """By `get`."""
        self._do("get", self.seconds, local=str(local), tape=path)

    def rename(self, path: str, to: str) -> None:
        """By `rename`."""
        self._do("rename", LOOK_SECONDS, tape=path, to=to)

    def remove(self, path: str) -> None:
        """By `remove`, where there is something."""
        if self.size(path) is not None:
            self._do("remove", LOOK_SECONDS, tape=path)

    def _run(self, name: str, seconds: float, **given: str) -> Finished:
        put = [_PLACE.sub(lambda place: given.get(place[1], ""), word) for word in self.commands[name]]
        return run(put, min(seconds, self.seconds))

    def _do(self, name: str, seconds: float, **given: str) -> None:
        done = self._run(name, seconds, **given)
        if done.code != 0:
            raise TapeError("tape", f"{self.commands[name][0]} ({name}) failed ({said(done)})")

    def _word(self, name: str, path: str) -> str | None:
        done = self._run(name, self.seconds, tape=path)
        lines = done.out.decode("utf-8", "replace").splitlines()
        if done.code != 0 or len(lines) > 1:
            why = said(done) if done.code else f"{len(lines)} lines"
            raise TapeError("unclear", f"{self.commands[name][0]} ({name}) gave no answer that is understood ({why})")
        return lines[0].split()[0] if lines and lines[0].split() else None
