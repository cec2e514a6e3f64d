"""Names of files: raw bytes outside, percent-encoded ASCII inside, so that any byte but NUL works everywhere."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

_SAFE = "/!$&'()*+,;=:@-._~"
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")


class NameRefused(ValueError):
    """A name that must not be used; the text says why."""


def encode(raw: bytes) -> str:
    """Raw bytes of a path -> percent-encoded ASCII; what needs no encoding stays readable."""
    return quote_from_bytes(raw, safe=_SAFE)


def decode(text: str) -> bytes:
    """The reverse of `encode`."""
    return unquote_to_bytes(text)


def normal(url: str) -> str:
    """One spelling a URL (RFC 3986, 6.2.2): `%41` is `A`, `%2f` is `%2F`. What `encode` made stays as it is."""
    return _ESCAPE.sub(_plain, url) if "%" in url else url


def _plain(escape: re.Match[str]) -> str:
    byte = chr(int(escape[1], 16))
    return byte if byte.isascii() and (byte.isalnum() or byte in "-._~") else escape[0].upper()


def shown(text: str) -> str:
    """An encoded name for people: decoded where that is printable UTF-8, else left encoded."""
    try:
        plain = decode(text).decode("utf-8")
    except UnicodeDecodeError:
        return text
    return plain if plain.isprintable() else text


def key(text: str) -> bytes:
    """The 32 bytes on which a name is unique, whatever the database's collation."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def spellings(text: str) -> tuple[str, ...]:
    """What a person who types a name may mean: the raw name, encoded here, or the name as it stands in tables and lists."""
    encoded = encode(os.fsencode(text))
    return (encoded,) if encoded == text or not text.isascii() else (encoded, text)


def file_url(path: bytes | str | os.PathLike[str]) -> str:
    """An absolute local path -> `file:///...`."""
    return "file://" + encode(os.fsencode(path))


def file_path(url: str) -> bytes:
    """`file:///a%20b` -> b"/a b". Raises NameRefused for another scheme, a foreign host, `..`, NUL or a relative path."""
    if not url.startswith("file://"):
        raise NameRefused(f"{url} is no file:// URL")
    host, slash, rest = url[7:].partition("/")
    if host not in ("", "localhost"):
        raise NameRefused(f"{url} names another host; a local file is file:///path")
    path = decode(slash + rest)
    check_path(path, url)
    return path


def check_path(path: bytes, subject: str) -> None:
    """Refuses what could lead out of a root or break a line: NUL, `..`, a relative or empty path."""
    if not path.startswith(b"/"):
        raise NameRefused(f"{subject} is not absolute; a name begins with /")
    if b"\0" in path:
        raise NameRefused(f"{subject} holds a NUL byte")
    if b".." in path.split(b"/"):
        raise NameRefused(f"{subject} holds '..', which could lead out of its root")


def path_of(url: str) -> Path:
    """`file_path` as a Path, for messages and the standard library."""
    return Path(os.fsdecode(file_path(url)))


def printable(text: str) -> str:
    """One line of printable ASCII, so that a foreign text can stand in a comment of a list file."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode("ascii").replace("\x7f", "")
