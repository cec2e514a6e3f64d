"""Where datalogger's files are declared: the settings of each catalogue."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

NAMES = ("journal", "rucio", "metacat")
Seconds = Annotated[float, Meta(gt=0)]
Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Pattern = Annotated[str, Meta(pattern=r"^[A-Za-z0-9{][A-Za-z0-9_.{}-]*$")]


class Rucio(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rucio, by its own client.

    config: rucio.cfg, which says the server and how to sign in, mode 0600; empty: where the client itself looks for one
    password_file: a file with mode 0600 that holds the password alone, for auth_type userpass; empty: as rucio.cfg says
    account: the account; empty: as rucio.cfg says
    scope: of files and datasets; it must be there
    rse: the storage element that has the files
    pfn: where it has a file, as root://HOST//PATH/{name}; empty: the storage element computes the path from the name
    dataset: what files are attached to, made where it lacks: {kind} is params or events, {month} and {year} are the file's
    rule: the RSE expression of each dataset's replication rule; empty: rse itself; "none": no rule
    copies: how many the rule wants
    connect_seconds: a server that does not accept a connection so long is away
    call_seconds: an answer that stands still for so long is given up; what it was about is looked up later
    """

    config: str = ""
    password_file: str = ""
    account: Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?$")] = ""
    scope: Word = "datalogger"
    rse: Annotated[str, Meta(pattern=r"^([A-Z0-9][A-Za-z0-9_-]*)?$")] = ""
    pfn: str = ""
    dataset: Pattern = "{kind}-{month}"
    rule: str = ""
    copies: Annotated[int, Meta(ge=1)] = 1
    connect_seconds: Seconds = 10.0
    call_seconds: Seconds = 60.0


class Metacat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """MetaCat, by its own client.

    url: https://HOST:PORT/PATH, or sim:metacat for the simulator
    token_file: a file with mode 0600 that holds MetaCat's token, as `metacat auth token -o FILE` writes it
    namespace: of files and of the dataset; it must be there
    dataset: what files are declared in: {kind} is params or events, {month} and {year} are the file's
    make_dataset: make the dataset where it lacks
    connect_seconds: a server that does not accept a connection so long is away
    call_seconds: an answer that stands still for so long is given up; what it was about is looked up later
    """

    url: str = ""
    token_file: str = ""
    namespace: Word = "datalogger"
    dataset: Pattern = "{kind}"
    make_dataset: bool = False
    connect_seconds: Seconds = 10.0
    call_seconds: Seconds = 60.0
