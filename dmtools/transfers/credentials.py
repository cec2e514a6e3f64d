"""The X.509 proxy or the token for FTS and storage: found, judged (remaining life, VO, role) before any work."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dmtools import clock
from dmtools.settings import Settings


class Unusable(Exception):
    """Proxy or token must not be used; the text says why and what to do."""


@dataclass(frozen=True)
class Given:
    """What a server gets to see: a token or a proxy file."""

    token: str | None = None
    proxy: str | None = None
    capath: str | None = None


@dataclass(frozen=True)
class Proxy:
    """What a proxy file says of itself."""

    path: Path
    subject: str
    expires: datetime
    attributes: tuple[str, ...]

    def seconds_left(self) -> float:
        """Remaining life in seconds; negative when it is over."""
        return (self.expires - clock.now()).total_seconds()


def for_server(settings: Settings, sim_token: str | None) -> Given:
    """The credentials for one server. Raises Unusable."""
    if sim_token:
        return Given(token=sim_token)
    if settings.credentials.token_file:
        return Given(token=read_token(settings.path(settings.credentials.token_file)), capath=_capath())
    path = proxy_path(settings)
    if path is None:
        raise Unusable("there is neither a proxy ([credentials] proxy, $X509_USER_PROXY) nor a token ([credentials] token_file)")
    judge(settings, fresh(settings, path))
    return Given(proxy=str(path), capath=_capath())


def _capath() -> str | None:
    return os.environ.get("X509_CERT_DIR")


def read_token(path: Path) -> str:
    """A bearer token from its file, which only its owner may read. Raises Unusable."""
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise Unusable(f"the token file {path} can't be read: {problem}") from None
    if mode & 0o077:
        raise Unusable(f"the token file {path} may be read by others; mend it with: chmod 600 {path}")
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", text):
        raise Unusable(f"the token file {path} holds no bearer token")
    return text


def proxy_path(settings: Settings) -> Path | None:
    """[credentials] proxy, else $X509_USER_PROXY, else /tmp/x509up_u<uid> when it is there."""
    if settings.credentials.proxy:
        return settings.path(settings.credentials.proxy)
    if named := os.environ.get("X509_USER_PROXY"):
        return Path(named)
    usual = Path(f"/tmp/x509up_u{os.geteuid()}")  # noqa: S108 - where every grid tool looks
    return usual if usual.exists() else None


def read_proxy(path: Path) -> Proxy:
    """Reads subject, end of life (the shortest of the chain) and VOMS attributes of a proxy. Raises Unusable."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        mode = path.stat().st_mode
        pem = path.read_bytes()
    except OSError as problem:
        raise Unusable(f"the proxy {path} can't be read: {problem.strerror}; make one with voms-proxy-init") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Unusable(f"the proxy {path} may be read by others; mend it with: chmod 600 {path}")
    blocks = re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.DOTALL)
    keys = re.findall(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", pem, re.DOTALL)
    if not blocks or not keys:
        raise Unusable(f"the proxy {path} holds no certificate or no key; make one with voms-proxy-init")
    try:
        chain = [x509.load_pem_x509_certificate(block) for block in blocks]
        load_pem_private_key(keys[0], password=None)
    except TypeError:
        raise Unusable(
            f"the key in {path} is encrypted: nobody can type its password in cron; make a proxy with voms-proxy-init"
        ) from None
    except ValueError as problem:
        raise Unusable(f"the proxy {path} can't be read: {problem}") from None
    return Proxy(path, chain[0].subject.rfc4514_string(), min(c.not_valid_after_utc for c in chain), _attributes(chain))


def _attributes(chain: Sequence[object]) -> tuple[str, ...]:
    """VOMS attributes (FQANs) stand as plain strings in the attribute certificate, OID 1.3.6.1.4.1.8005.100.100.5."""
    from cryptography import x509

    found: list[str] = []
    for certificate in chain:
        assert isinstance(certificate, x509.Certificate)
        for extension in certificate.extensions:
            if extension.oid.dotted_string == "1.3.6.1.4.1.8005.100.100.5":
                raw = getattr(extension.value, "value", b"")
                found += [
                    text.decode() for text in re.findall(rb"/[A-Za-z0-9_./=-]+/Role=[A-Za-z0-9_-]+(?:/Capability=[A-Z]+)?", raw)
                ]
    return tuple(found)


def refusal(settings: Settings) -> str | None:
    """Why the proxy or token that is given can't be used, the proxy renewed before; None: it can, or there is none to judge."""
    try:
        if settings.credentials.token_file:
            read_token(settings.path(settings.credentials.token_file))
        elif (path := proxy_path(settings)) is not None:
            judge(settings, fresh(settings, path))
    except Unusable as problem:
        return str(problem)
    return None


def fresh(settings: Settings, path: Path) -> Proxy:
    """The proxy, renewed by [credentials] renew before when it is not there or its life gets short. Raises Unusable."""
    from dmtools.transfers import renewal

    try:
        found = read_proxy(path)
    except Unusable:
        renewal.try_it(settings, path)
        return read_proxy(path)
    if found.seconds_left() >= settings.credentials.warn_seconds:
        return found
    renewal.try_it(settings, path)
    return read_proxy(path)


def judge(settings: Settings, proxy: Proxy) -> None:
    """Refuses a proxy that ends too soon or is of another VO or role. Raises Unusable."""
    wanted = settings.credentials
    left = proxy.seconds_left()
    renew = "renew it, for example with: voms-proxy-init --voms VO:/VO/Role=ROLE --valid 168:0"
    if left < wanted.refuse_seconds:
        raise Unusable(f"the proxy {proxy.path} has {clock.age(left)} left, less than {wanted.refuse_seconds} s; {renew}")
    if wanted.vo and not any(a.startswith(f"/{wanted.vo}/") for a in proxy.attributes):
        raise Unusable(f"the proxy {proxy.path} is not of the VO {wanted.vo}; {renew}")
    if wanted.role and not any(f"Role={wanted.role}" in a.split("/") for a in proxy.attributes):
        raise Unusable(f"the proxy {proxy.path} has not the role {wanted.role}; {renew}")
