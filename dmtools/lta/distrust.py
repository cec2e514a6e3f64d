"""What is said when a client and its server don't trust each other. Needs the standard library alone."""

from __future__ import annotations

from pathlib import Path

from dmtools.command.run import Refused

KEPT = "what was booked before stays booked"


def untrusted(url: str, ca_file: str, problem: Exception, left: str = KEPT) -> Refused:
    """The server's certificate proves nothing."""
    by = ca_file or "the authorities that this system trusts"
    step = "name its authority in [lta] ca_file, or have the certificate mended there; [lta] url must have the name that is in it"
    why = f"who answers at {url} does not prove by {by} to be that server: {problem}; the token was not sent; {step}"
    return Refused(why, left)


def unknown_token(url: str, token_file: str | Path, like: str, left: str = KEPT) -> Refused:
    """The server doesn't take our token; it says to nobody why."""
    step = f"have a new one made where the tables are, with: lta-rest-server token add {like}; put it into that file, mode 0600"
    why = f"{url} does not take the token of {token_file}: it has expired, was revoked, or is not known there; {step}"
    return Refused(why, left)
