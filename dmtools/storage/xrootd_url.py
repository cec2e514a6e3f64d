"""`root://HOST[:PORT]//PATH[?OPAQUE]` taken apart, as the tools want its parts."""

from __future__ import annotations

from dataclasses import dataclass

from dmtools.names import NameRefused, check_path, decode

SCHEMES = frozenset({"root", "roots", "xroot", "xroots"})


@dataclass(frozen=True, slots=True)
class Place:
    """`endpoint` is root://host:port, `path` the raw bytes that the server sees, `opaque` what follows a `?`."""

    endpoint: str
    path: bytes
    opaque: bytes

    def full(self, *, path: bytes | None = None) -> bytes:
        """The one argument by which xrdcp names the file."""
        return self.endpoint.encode("ascii") + b"/" + (self.path if path is None else path) + self._query()

    def asked(self, *more: bytes) -> bytes:
        """The path as an argument of xrdfs, with the opaque part and what a question adds to it."""
        return self.path + self._query(*more)

    def texts(self) -> tuple[str, ...]:
        """All writings of the name that a message may hold."""
        return tuple(name.decode("utf-8", "surrogateescape") for name in (self.path, self.full()))

    def _query(self, *more: bytes) -> bytes:
        parts = [part for part in (self.opaque, *more) if part]
        return b"?" + b"&".join(parts) if parts else b""


def place(url: str) -> Place:
    """Raises NameRefused for what XRootD can't name, or what could lead out of a root."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in SCHEMES:
        raise NameRefused(f"{url} is no root:// URL")
    host, slash, written = rest.partition("/")
    if not host or not slash:
        raise NameRefused(f"{url} names no host and path; write root://host:port//path")
    if not host.isascii() or not host.isprintable() or " " in host:
        raise NameRefused(f"{url} holds a host that can't be one")
    name, _, opaque = written.partition("?")
    path = decode(name)
    first = path.partition(b"/")[0]
    if b":" not in first or path.startswith(b"-"):  # an object's name (pool:name) has no slash before it; a path has one
        path = b"/" + path.lstrip(b"/")
    check_path(b"/" + path, url)
    if b"?" in path:
        raise NameRefused(f"{url} holds a question mark, which XRootD takes for the end of the name")
    return Place(f"{scheme.lower()}://{host}", path, opaque.encode("utf-8"))
