"""Opens the database of statistics, and says in a sentence why it can't be used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, exc, make_url

from dmtools.command.run import Refused, Unavailable
from dmtools.ledger.engine import MARIADB, begin_ourselves
from dmtools.settings import Settings, SettingsError, read_secret

_STEP = "the next pass tries again"
_KNOWN = (
    (r"locked|Lock wait|Deadlock", "it is locked by another program", f"{_STEP}; end the program that holds it if it stays"),
    (r"full|No space|ENOSPC", "there is no room on its disk", f"make room; {_STEP}"),
    (r"not a database|malformed", "it is damaged", "move it away; then make the statistics anew: datalogger-distill --again"),
    (r"unable to open", "it can't be opened", "check that its directory is there and may be written"),
    (r"readonly|read-only", "it may not be written", "check its owner and mode, and those of its directory"),
    (r"disk I/O", "it could not be read or written", "look at its disk"),
    (r"Can't connect|Lost connection|gone away|refused", "it doesn't answer", f"check that it runs; {_STEP}"),
    (r"Access denied", "it refuses our name or password", "check [datalogger] stats_url and stats_password_file"),
    (r"Unknown database", "the server has no such database", "make it: CREATE DATABASE NAME"),
)


def url_of(settings: Settings) -> str:
    """[datalogger] stats_url with the password of its file, or how long to wait for a sqlite file. Raises SettingsError."""
    found = settings.datalogger
    if found.stats_url.startswith("sqlite"):
        patience = {"timeout": str(settings.database.busy_seconds)}
        return make_url(found.stats_url).update_query_dict(patience).render_as_string()
    if not found.stats_password_file:
        return found.stats_url
    password = read_secret(settings.path(found.stats_password_file), "password file of the statistics")
    return make_url(found.stats_url).set(password=password).render_as_string(hide_password=False)


def is_there(url: str) -> bool:
    """Is the file of a sqlite database there? A server's is asked itself."""
    found = make_url(url)
    return found.get_backend_name() != "sqlite" or Path(found.database or "").exists()


def engine(url: str) -> Engine:
    """An engine; nothing is opened yet."""
    if make_url(url).get_backend_name() == "sqlite":
        made = create_engine(url)
        begin_ourselves(made)
        return made
    try:
        return create_engine(url, isolation_level="READ COMMITTED", connect_args=dict(MARIADB))
    except ModuleNotFoundError as problem:
        need = f"datalogger.stats_url needs the Python package {problem.name}; install it: pip install 'dmtools[mysql]'"
        raise SettingsError(None, [need]) from None


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes."""
    with engine.connect().execution_options(dm_write=True) as connection, connection.begin():
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that reads."""
    with engine.begin() as connection:
        yield connection


def lacks_table(problem: exc.DBAPIError) -> bool:
    """Is it that the table isn't there?"""
    return re.search(r"no such table|doesn't exist", str(problem.orig)) is not None


@contextmanager
def told(url: str) -> Iterator[None]:
    """What goes wrong with it, in a sentence. Raises Unavailable."""
    try:
        yield
    except exc.DBAPIError as problem:
        said = next(iter(str(problem.orig).strip().splitlines()), "no reason given")[:200]
        why, step = next(
            ((why, step) for pattern, why, step in _KNOWN if re.search(pattern, said, re.IGNORECASE)), ("it failed", _STEP)
        )
        left = "what is in it stays; files without statistics keep their drafts"
        raise Unavailable("no statistics database", shown(url), f"{why} ({said})", step, left) from problem


def newer(url: URL, found: int, ours: int) -> Refused:
    """What to say of a database that a later release has made."""
    where = url.render_as_string(hide_password=True)
    return Refused(
        f"the statistics in {where} are of schema {found}, newer than this program knows ({ours}): install the newer dmtools"
    )


def shown(url: str) -> str:
    """The database for messages: a file's path, or the URL without its password."""
    found = make_url(url)
    return found.database or url if found.get_backend_name() == "sqlite" else found.render_as_string(hide_password=True)
