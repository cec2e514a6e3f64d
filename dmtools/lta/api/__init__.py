"""What can be asked of the lta tables, directly or through lta-rest-server: an `Ask` is a question or an order.

The same asks are carried out on the tables (`dmtools.lta.books`), travel as JSON over HTTPS (`dmtools.lta.wire`), and make the
routes and the OpenAPI description of the server. A new ask is a class in one of the files here and a function in `books`.
Names are percent-encoded, instants ISO 8601 in UTC, sizes bytes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Protocol, TypeVar, cast

from msgspec import Meta, Struct

READER, WORKER, OPERATOR, ADMIN = "reader", "worker", "operator", "admin"
ROLES = (READER, WORKER, OPERATOR, ADMIN)  # each may all that those before it may, but that a worker's site binds it
LOCAL = "local"  # the site of the workers at the source

Text = Annotated[str, Meta(min_length=1, max_length=4096)]
Name = Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^[!-~]+\Z")]  # percent-encoded
Short = Annotated[str, Meta(min_length=1, max_length=190, pattern=r"^[ -~]+\Z")]
Why = Annotated[str, Meta(min_length=1, max_length=2000)]
WordOf = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,63}\Z")]
Site = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,30}\Z")]
Size = Annotated[int, Meta(ge=0, le=2**62)]
Number = Annotated[int, Meta(ge=1, le=2**62)]
Sha512 = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]
Adler32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}\Z")]
Few = Annotated[int, Meta(ge=1, le=1000)]
Seconds = Annotated[int, Meta(ge=1, le=86400)]

A = TypeVar("A", bound=Struct)


class Ask(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question or order; the first line of its docstring is its summary in the description of the server.

    `PATH` may hold {fields} of it; of a GET all others are parameters, of a POST the JSON body.
    """

    METHOD: ClassVar[str] = "POST"
    PATH: ClassVar[str] = ""
    ROLE: ClassVar[str] = READER
    ANSWER: ClassVar[type[Struct]] = Struct


class Done(Struct, frozen=True, kw_only=True):
    """It is done; to how many."""

    done: int


class Books(Protocol):
    """Where asks are answered: our own tables (`dmtools.lta.direct`) or a server (`dmtools.lta.away`)."""

    def do(self, ask: Ask) -> Struct:
        """The answer, of the class `ask.ANSWER`. Raises NotAllowed, Conflict, Unknown; Unavailable when nobody can be asked."""


class Problem(Exception):
    """An ask that was refused; nothing was written. `status` is HTTP's."""

    status = 400


class Wrong(Problem):
    """It makes no sense: a state that doesn't exist, a name that can't be."""


class NotAllowed(Problem):
    """The one who asks may not."""

    status = 403


class Unknown(Problem):
    """There is no such thing."""

    status = 404


class Conflict(Problem):
    """It stands otherwise than the ask says: an illegal or late change, another content under the same name."""

    status = 409


def answer(books: Books, ask: Ask, kind: type[A]) -> A:
    """`books.do(ask)` with the answer's own type, for the reader and for mypy."""
    assert ask.ANSWER is kind
    return cast("A", books.do(ask))
