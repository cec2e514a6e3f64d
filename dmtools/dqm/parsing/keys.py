"""Public names for private ones: made with a secret of this HOME, so that nobody can try which name gives them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from dmtools import durable

_BYTES = 32


class Keys:
    """The same name always gives the same key, as long as HOME/secrets/dqm-keys stays."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def of_home(cls, home: Path, *, dry_run: bool = False) -> Keys:
        """Reads the secret, or makes it; of two that make it at once one wins. Raises OSError."""
        file = home / "secrets/dqm-keys"
        secret = _read(file)
        if secret is None and dry_run:
            return cls(os.urandom(_BYTES))
        if secret is None:
            file.parent.mkdir(mode=0o700, exist_ok=True)
            own = file.with_name(f".dqm-keys.{os.getpid()}.tmp")
            durable.write_file(own, os.urandom(_BYTES).hex().encode() + b"\n", 0o600)
            with contextlib.suppress(FileExistsError):
                durable.rename_new(own, file)
                durable.fsync_dir(file.parent)
            own.unlink(missing_ok=True)
            secret = _read(file)
        if secret is None:
            raise OSError(5, "holds no key; remove it, and a new one is made", str(file))
        return cls(secret)

    def of(self, kind: str, name: str) -> str:
        """16 hexadecimal digits."""
        text = f"{kind}\0{name}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._secret, digest_size=8).hexdigest()


def _read(file: Path) -> bytes | None:
    try:
        text = file.read_bytes().strip()
    except FileNotFoundError:
        return None
    try:
        secret = bytes.fromhex(text.decode("ascii", "replace"))
    except ValueError:
        secret = b""
    if len(secret) < _BYTES:
        raise OSError(5, "holds no key; remove it, and a new one is made", str(file))
    return secret
