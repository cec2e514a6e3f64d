"""What `dm-sim archive` gives as `hsi` and `hpss_avail`: speaks hsi's lines, talks to the simulator.

It is copied to where jobs find it, with the simulator's address file in ADDRESS. It is started often, so it imports little.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import IO, Any

ADDRESS = "run/sim/archive.json"
FAILED, AWAY = 64, 70
BLOCK = 1 << 20
_OWN = frozenset("*?[]{}|<>&#`$~'\\")


class Refused(Exception):
    """hsi's own complaint."""


def main() -> int:
    """`hsi [-q] [-P] WORD...`: all words make one line; `;` parts commands. `hpss_avail NAME`."""
    words = sys.argv[1:]
    try:
        if os.path.basename(sys.argv[0]) == "hpss_avail":
            return _order("/hpss_avail", {"archive": words[0] if words else "archive"}, sys.stdout)
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
    except (OSError, ValueError, KeyError, IndexError) as problem:
        print(f"hsi: HPSS is not available: {type(problem).__name__}: {problem}", file=sys.stderr)
        return AWAY


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


def _do(words: list[str], out: IO[str]) -> int:
    name, rest = words[0], words[1:]
    if name in ("put", "get"):
        if len(rest) < 3 or rest[-2] != ":":
            raise Refused(f"usage: {name} [-c on] [-H sha512] LOCAL : REMOTE")
        return _put(rest[-3], rest[-1], rest[:-3], out) if name == "put" else _get(rest[-3], rest[-1])
    names = [word for word in rest if not word.startswith("-")]
    wanted = {"ls": 1, "hashlist": 1, "hashverify": 1, "mkdir": 1, "rm": 1, "mv": 2}.get(name)
    if wanted is None:
        raise Refused(f"unknown command: {name}")
    if len(names) != wanted:
        raise Refused(f"usage: {name} takes {wanted} names, not {len(names)}")
    return _order(f"/hsi/{name}", {"names": names}, out)


def _put(local: str, remote: str, options: list[str], out: IO[str]) -> int:
    try:
        with open(local, "rb") as file:
            more = ["X-Hash: 1"] if options == ["-c", "on", "-H", "sha512"] else []
            return _told(*_ask("PUT", f"/hpss?path={_quoted(remote)}", file, os.fstat(file.fileno()).st_size, more)[::2], out)
    except FileNotFoundError:
        raise Refused(f"put: no such local file: {local}") from None


def _get(local: str, remote: str) -> int:
    status, headers, answer = _ask("GET", f"/hpss?path={_quoted(remote)}", None, 0, [])
    if status != 200:
        raise Refused(f"get: {answer.read().decode()}")
    left = int(headers["content-length"])
    with open(local, "wb") as file:
        while left and (block := answer.read(min(BLOCK, left))):
            file.write(block)
            left -= len(block)
    if left:
        raise Refused(f"get: HPSS went away: {remote}")
    if headers.get("x-checksum") == "differs":
        raise Refused(f"get: checksum mismatch: {remote}")
    return 0


def _order(path: str, body: dict[str, Any], out: IO[str]) -> int:
    import io

    data = json.dumps(body).encode()
    return _told(*_ask("POST", path, io.BytesIO(data), len(data), ["Content-Type: application/json"])[::2], out)


def _told(status: int, answer: IO[bytes], out: IO[str]) -> int:
    said = answer.read()
    if status != 200:
        raise Refused(f"HPSS says {status}")
    told = json.loads(said)
    print(told["out"], end="", file=out)
    print(told["err"], end="", file=sys.stderr)
    return int(told["code"])


def _ask(method: str, path: str, body: IO[bytes] | None, length: int, more: list[str]) -> tuple[int, dict[str, str], IO[bytes]]:
    """(status, headers, the body to be read) of one HTTP request."""
    with open(ADDRESS, "rb") as file:
        told = json.load(file)
    host, _, port = told["url"].rpartition("//")[2].partition(":")
    connection = socket.create_connection((host, int(port)))
    head = [f"{method} {path} HTTP/1.0", f"Authorization: Bearer {told['token']}", f"Content-Length: {length}", *more, "", ""]
    connection.sendall("\r\n".join(head).encode())
    while body is not None and (block := body.read(BLOCK)):
        connection.sendall(block)
    answer = connection.makefile("rb")
    status = int(answer.readline().split()[1])
    headers = {}
    while line := answer.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, answer


def _quoted(text: str) -> str:
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in os.fsencode(text))


if __name__ == "__main__":
    sys.exit(main())
