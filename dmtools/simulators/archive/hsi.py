"""What `dm-sim archive` gives as `hsi` and `hpss_avail`: speaks hsi's lines, talks to the simulator. Standard library only.

It is copied to where jobs find it, with the simulator's address file in ADDRESS.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, urlsplit

ADDRESS = "run/sim/archive.json"
FAILED = 64
BLOCK = 1 << 20
_OWN = frozenset("*?[]{}|<>&#`$~'\\")


class Refused(Exception):
    """hsi's own complaint."""


def main() -> int:
    """`hsi [-q] [-P] WORD...`: all words make one line; `;` parts commands. `hpss_avail NAME`."""
    words = sys.argv[1:]
    try:
        if Path(sys.argv[0]).name == "hpss_avail":
            return _ask("POST", "/hpss_avail", {"archive": words[0] if words else "archive"})
        out = sys.stderr
        while words and words[0].startswith("-"):
            out = sys.stdout if words.pop(0) == "-P" else out
        code = 0
        for command in _commands(" ".join(words)):
            code = _do(command, out) or code
        return code
    except Refused as problem:
        print(f"hsi: error: {problem}", file=sys.stderr)
        return FAILED
    except (OSError, ValueError, KeyError, http.client.HTTPException) as problem:
        print(f"hsi: HPSS is not available: {type(problem).__name__}: {problem}", file=sys.stderr)
        return 70


def _commands(line: str) -> list[list[str]]:
    """Words by blanks and double quotes; what hsi takes for its own is refused, in quotes, too."""
    found: list[list[str]] = [[]]
    word, quoted, begun = "", False, False
    for char in line + " ":
        if char == '"':
            quoted, begun = not quoted, True
        elif char in _OWN or ord(char) < 32:
            raise Refused(f"can't parse {char!r} in: {line}")
        elif not quoted and char in " ;":
            if begun:
                found[-1].append(word)
            word, begun = "", False
            if char == ";":
                found.append([])
        else:
            word, begun = word + char, True
    if quoted:
        raise Refused(f"unbalanced quotes in: {line}")
    return [command for command in found if command]


def _do(words: list[str], out: TextIO) -> int:
    name, rest = words[0], words[1:]
    options = [word for word in rest if word.startswith("-")]
    if name in ("put", "get"):
        return _transfer(name, rest, out)
    plain = [word for word in rest if not word.startswith("-")]
    wanted = {"ls": 1, "hashlist": 1, "hashverify": 1, "mkdir": 1, "rm": 1, "mv": 2}.get(name)
    if wanted is None:
        raise Refused(f"unknown command: {name}")
    if len(plain) != wanted:
        raise Refused(f"usage: {name} takes {wanted} names, not {len(plain)}")
    return _ask("POST", f"/hsi/{name}", {"options": options, "names": plain}, out)


def _transfer(name: str, rest: list[str], out: TextIO) -> int:
    if ":" not in rest or rest.index(":") != len(rest) - 2 or len(rest) < 3:
        raise Refused(f"usage: {name} [-c on] [-H sha512] LOCAL : REMOTE")
    local, remote = Path(rest[-3]), rest[-1]
    options = rest[:-3]
    if name == "get":
        return _get(local, remote)
    try:
        size = local.stat().st_size
        with local.open("rb") as file:
            kept = "1" if options == ["-c", "on", "-H", "sha512"] else ""
            headers = {"Content-Length": str(size), "X-Hash": kept, "X-Local": quote(os.fsencode(str(local)))}
            return _ask("PUT", f"/hpss?path={quote(os.fsencode(remote))}", file, out, headers)
    except FileNotFoundError:
        raise Refused(f"put: no such local file: {local}") from None


def _get(local: Path, remote: str) -> int:
    connection, headers = _connection()
    connection.request("GET", f"/hpss?path={quote(os.fsencode(remote))}", headers=headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise Refused(f"get: {answer.read().decode()}")
    with local.open("wb") as file:
        while block := answer.read(BLOCK):
            file.write(block)
    if answer.getheader("X-Checksum") == "differs":
        raise Refused(f"get: checksum mismatch: {remote}")
    return 0


def _connection() -> tuple[http.client.HTTPConnection, dict[str, str]]:
    told = json.loads(Path(ADDRESS).read_bytes())
    connection = http.client.HTTPConnection(urlsplit(told["url"]).netloc)
    return connection, {"Authorization": f"Bearer {told['token']}"}


def _ask(method: str, path: str, body: Any, out: TextIO | None = None, more: dict[str, str] | None = None) -> int:
    connection, headers = _connection()
    sent = body if hasattr(body, "read") else json.dumps(body).encode("utf-8", "surrogateescape")
    connection.request(method, path, sent, {**headers, "Content-Type": "application/json", **(more or {})})
    answer = connection.getresponse()
    told = json.loads(answer.read())
    if answer.status != 200 or "code" not in told:
        raise Refused(f"HPSS says {answer.status}")
    print(told["out"], end="", file=out or sys.stdout)
    print(told["err"], end="", file=sys.stderr)
    return int(told["code"])


if __name__ == "__main__":
    sys.exit(main())
