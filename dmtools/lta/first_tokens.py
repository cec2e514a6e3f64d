"""The first tokens for lta-rest-server, made by `dm-config init`: files of mode 0600 in HOME/secrets, their hashes in the tables.

The file comes first: whatever is killed between, the next init finds it and adds its hash. What a person revoked stays so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dmtools import durable
from dmtools.command.run import Refused
from dmtools.settings import Settings, load

# The file -> the role, and whether it is bound to the remote site (True) or to this one (False); None: to none.
FIRST: dict[str, tuple[str, bool | None]] = {
    "lta-worker": ("worker", False),
    "lta-nersc": ("worker", True),
    "lta-operator": ("operator", None),
}


def wanted(settings: Settings) -> dict[Path, tuple[str, str, str | None]]:
    """The file of each -> the token's name, role and site. The remote site's is called as that is."""
    from dmtools.lta.api import LOCAL

    found: dict[Path, tuple[str, str, str | None]] = {}
    for name, (role, remote) in FIRST.items():
        site = None if remote is None else settings.lta.destination if remote else LOCAL
        called = f"lta-{settings.lta.destination}" if remote else name
        found[settings.home / "secrets" / f"{called}.token"] = (called, role, site)
    return found


def make(home: Path, note: Callable[[Path, bool], None], *, dry_run: bool = False) -> None:
    """Makes those that are missing; `note(path, is_new)` is told of each. Raises LedgerUnavailable, Refused.

    Nothing of a HOME that is not there yet, as in a dry run of its making.
    """
    from dmtools.ledger import open_ledger

    if not (home / "dmtools.toml").exists():
        return
    settings = load(home / "dmtools.toml", home)
    files = wanted(settings)
    for path in files:
        note(path, not path.exists())
        if not path.exists() and not dry_run:
            _write(path)
    if dry_run:
        return
    ledger = open_ledger(settings)
    try:
        for path, (name, role, site) in files.items():
            _add(ledger, settings, path, name, role, site)
    finally:
        ledger.close()


def _write(path: Path) -> None:
    """A new token, whole or not at all; if another init was quicker, its file stays."""
    from dmtools.lta import tokens

    temporary = durable.hidden(path)
    durable.write_file(temporary, f"{tokens.made()}\n".encode(), 0o600)
    temporary.chmod(0o600)  # whatever the umask
    try:
        durable.rename_new(temporary, path)
    except FileExistsError:
        temporary.unlink()
    durable.fsync_dir(path.parent)


def _add(ledger: object, settings: Settings, path: Path, name: str, role: str, site: str | None) -> None:
    from dmtools.ledger import Ledger
    from dmtools.lta import tokens
    from dmtools.lta.api import ADMIN, Conflict
    from dmtools.lta.api.tokens import AddToken
    from dmtools.lta.books import Who
    from dmtools.lta.direct import Direct

    assert isinstance(ledger, Ledger)
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise Refused(f"{path} is no token that can be read: {problem}; look at it, or move it away and run this again") from None
    if not token or os.path.islink(path):
        raise Refused(f"{path} holds no token; move it away and run this again")
    ask = AddToken(name=name, role=role, site=site, sha256=tokens.hashed(token))
    try:
        Direct(ledger, Who("dm-config", ADMIN), settings).do(ask)
    except Conflict:
        return  # a token of this name is there, or was revoked: a person's doing, which stays
