"""Tokens: who may ask for what. The token itself is never sent: its owner makes it, and gives its hash."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from dmtools.lta.api import ADMIN, Ask, Site, WordOf

Days = Annotated[int, Meta(ge=1, le=36500)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Role = Annotated[str, Meta(pattern=r"^(reader|worker|operator|admin)\Z")]


class Token(Struct, frozen=True, kw_only=True):
    """A token as it stands; `site` binds a worker."""

    name: str
    role: str
    site: str | None
    created: datetime
    expires: datetime | None
    revoked: datetime | None


class Tokens(Struct, frozen=True, kw_only=True):
    """All tokens, the revoked ones too, in the order in which they were made."""

    tokens: tuple[Token, ...]


class ListTokens(Ask, frozen=True, kw_only=True):
    """Who may ask for what."""

    METHOD: ClassVar[str] = "GET"
    PATH: ClassVar[str] = "/tokens"
    ROLE: ClassVar[str] = ADMIN
    ANSWER: ClassVar[type[Struct]] = Tokens


class AddToken(Ask, frozen=True, kw_only=True):
    """Lets somebody in.

    `sha256`: of the token, in hex. A worker is bound to a site; `days`: how long it is good, None: until it is revoked.
    """

    PATH: ClassVar[str] = "/tokens"
    ROLE: ClassVar[str] = ADMIN
    ANSWER: ClassVar[type[Struct]] = Token

    name: WordOf
    role: Role
    site: Site | None = None
    days: Days | None = None
    sha256: Sha256


class RevokeToken(Ask, frozen=True, kw_only=True):
    """Lets somebody in no longer."""

    PATH: ClassVar[str] = "/tokens/{name}/revoke"
    ROLE: ClassVar[str] = ADMIN
    ANSWER: ClassVar[type[Struct]] = Token

    name: WordOf
