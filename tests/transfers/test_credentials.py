"""Proxies and tokens: which are used, which are refused before any work, and what the person is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from dmtools import clock
from dmtools.settings import Settings, parse
from dmtools.transfers import credentials
from dmtools.transfers.credentials import Unusable

KEY = rsa.generate_private_key(65537, 2048)
VOMS = x509.ObjectIdentifier("1.3.6.1.4.1.8005.100.100.5")
PLAIN = NoEncryption()
FORMS = {"pkcs8": PrivateFormat.PKCS8, "openssl": PrivateFormat.TraditionalOpenSSL}


def certificate(name: str, life: timedelta, fqans: tuple[str, ...] = ()) -> bytes:
    """One certificate of a chain; `fqans` as they stand in a VOMS extension."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(KEY.public_key()).serial_number(1)
    made = made.not_valid_before(clock.now() - timedelta(days=30)).not_valid_after(clock.now() + life)
    if fqans:
        raw = b"\x30\x82" + b"".join(b"\x04" + bytes([len(f)]) + f.encode() for f in fqans)
        made = made.add_extension(x509.UnrecognizedExtension(VOMS, raw), critical=False)
    return made.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


@dataclass
class Proxy:
    """A proxy file in the making."""

    path: Path

    def write(
        self,
        life: timedelta = timedelta(days=1),
        *,
        user: timedelta = timedelta(days=300),
        fqans: tuple[str, ...] = ("/gridpp/migdal/Role=production/Capability=NULL",),
        mode: int = 0o600,
        password: bytes | None = None,
        form: str = "openssl",
    ) -> Path:
        locked = BestAvailableEncryption(password) if password else PLAIN
        key = KEY.private_bytes(Encoding.PEM, FORMS[form], locked)
        self.path.write_bytes(certificate("proxy", life, fqans) + key + certificate("user", user))
        self.path.chmod(mode)
        return self.path


@pytest.fixture(autouse=True)
def no_own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("X509_USER_PROXY", raising=False)
    monkeypatch.setattr(credentials.os, "geteuid", lambda: 424242)  # whose /tmp/x509up_u is not there


@pytest.fixture
def proxy(tmp_path: Path) -> Proxy:
    return Proxy(tmp_path / "x509up")


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Settings]:
    def make(**words: str | int) -> Settings:
        lines = [f"{key} = {value!r}" for key, value in words.items()]
        return parse("[credentials]\n" + "\n".join(lines) + "\n", home=tmp_path, file=None)

    return make


def test_a_good_proxy_is_given(proxy: Proxy, configured: Callable[..., Settings]) -> None:
    given = credentials.for_server(configured(proxy=str(proxy.write()), vo="gridpp", role="production"), None)
    assert (given.proxy, given.token) == (str(proxy.path), None)


def test_a_simulators_token_goes_before_all(proxy: Proxy, configured: Callable[..., Settings]) -> None:
    given = credentials.for_server(configured(proxy=str(proxy.write(timedelta(seconds=-1)))), "simtoken")
    assert (given.proxy, given.token) == (None, "simtoken")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"life": timedelta(seconds=-60)}, ["left, less than 1000 s", "renew it"]),
        ({"life": timedelta(seconds=930)}, ["15 min left", "renew it"]),
        ({"life": timedelta(days=7), "user": timedelta(minutes=5)}, ["left, less than 1000 s"]),
        ({"mode": 0o640}, ["may be read by others", "chmod 600"]),
        ({"mode": 0o604}, ["may be read by others", "chmod 600"]),
        ({"password": b"secret"}, ["encrypted", "cron"]),
        ({"password": b"secret", "form": "pkcs8"}, ["encrypted", "cron"]),
        ({"fqans": ()}, ["not of the VO gridpp"]),
        ({"fqans": ("/gridppx/Role=production",)}, ["not of the VO gridpp"]),
        ({"fqans": ("/gridpp/migdal/Role=NULL/Capability=NULL",)}, ["has not the role production"]),
        ({"fqans": ("/gridpp/Role=productionx",)}, ["has not the role production"]),
    ],
    ids=str,
)
def test_refused(how: dict[str, object], words: list[str], proxy: Proxy, configured: Callable[..., Settings]) -> None:
    found = configured(proxy=str(proxy.write(**how)), vo="gridpp", role="production")  # type: ignore[arg-type]
    with pytest.raises(Unusable) as problem:
        credentials.for_server(found, None)
    assert all(word in str(problem.value) for word in [*words, str(proxy.path)]), str(problem.value)
    assert "secret" not in str(problem.value)


@pytest.mark.parametrize("data", [b"", b"\xff\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_proxy(data: bytes, proxy: Proxy, configured: Callable[..., Settings]) -> None:
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, PLAIN)
    for tail in (b"", key):
        proxy.path.write_bytes(data + tail)
        proxy.path.chmod(0o600)
        with pytest.raises(Unusable, match=str(proxy.path)):
            credentials.for_server(configured(proxy=str(proxy.path)), None)


def test_none_at_all_says_where_it_looked(configured: Callable[..., Settings], tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="neither a proxy"):
        credentials.for_server(configured(), None)
    with pytest.raises(Unusable, match=r"can't be read: No such file.*voms-proxy-init"):
        credentials.for_server(configured(proxy=str(tmp_path / "gone")), None)


def test_the_environments_proxy(proxy: Proxy, configured: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X509_USER_PROXY", str(proxy.write()))
    assert credentials.for_server(configured(), None).proxy == str(proxy.path)


def test_a_token_file_goes_before_a_proxy_and_lies_below_home(
    proxy: Proxy, configured: Callable[..., Settings], tmp_path: Path
) -> None:
    token = tmp_path / "secrets" / "token"
    token.parent.mkdir()
    token.write_text("abc.DEF-1_~+/=\n")
    token.chmod(0o600)
    for name in (str(token), "secrets/token"):
        given = credentials.for_server(configured(token_file=name, proxy=str(proxy.write())), None)
        assert (given.token, given.proxy) == ("abc.DEF-1_~+/=", None)
    relative = configured(proxy="x509up")
    assert credentials.for_server(relative, None).proxy == str(proxy.path)


@pytest.mark.parametrize(
    ("text", "mode", "word"),
    [
        ("abc", 0o644, "chmod 600"),
        ("", 0o600, "no bearer token"),
        ("two words", 0o600, "no bearer token"),
        ("a\nb", 0o600, "no bearer token"),
        ("t\u00f6ken", 0o600, "can't be read"),
    ],
)
def test_a_token_file_that_is_refused(
    text: str, mode: int, word: str, configured: Callable[..., Settings], tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    with pytest.raises(Unusable, match=word) as problem:
        credentials.for_server(configured(token_file=str(path)), None)
    assert not text or text not in str(problem.value).replace(str(path), "")
    with pytest.raises(Unusable, match="can't be read"):
        credentials.for_server(configured(token_file=str(tmp_path / "gone")), None)
