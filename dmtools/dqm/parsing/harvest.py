"""What one place of a grab shows to be private: hosts, users, ids. It is hidden wherever else it stands."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

_NAME = rb"([A-Za-z_][A-Za-z0-9_.-]{1,31})"
_BETWEEN = rb"(?:name)?(?:&quot;|&#34;|[\"'])?\s{0,3}[:=]\s{0,3}(?:&quot;|&#34;|[\"'])?" + _NAME
# A literal, and what stands behind it: a literal is found at the speed of memory.
_USERS = [
    (literal, re.compile(behind))
    for literal, behind in (
        *((place, rb"/+" + _NAME) for place in (b"/home", b"/Users", b"/users")),
        (b"/nfshome", rb"\d/+" + _NAME),
        (b"/afs/", rb"[a-z.]+/user/\w/" + _NAME),
        (b"/eos/", rb"(?:home-\w|user/\w)/" + _NAME),
        *((word, _BETWEEN) for word in (b"user", b"User", b"USER", b"LOGNAME", b"login", b"owner", b"operator")),
        *((word, _BETWEEN) for word in (b"shifter", b"account", b"author")),
        (b"uid=", rb"\d+\(" + _NAME),
        (b"--user ", _NAME),
    )
]
_MAIL = re.compile(rb"[A-Za-z0-9][A-Za-z0-9.-]*")
_BEFORE = re.compile(rb"[A-Za-z0-9._+-]{1,64}$")
_URL = re.compile(rb"(?:[^\s/@\"'<>]{1,64}@)?([A-Za-z0-9][A-Za-z0-9.-]{1,253})")
# Names that stand for nobody, and words that follow `user:` in other texts; to hide them everywhere would hide the text.
_NOBODY = frozenset(
    """
    root user users data none null true false nobody system default admin local localhost public guest cmsrun cms cmssw dqm run
    name type list info log logs event events module the and for with not is was has are of to in on no yes code defined input
    error warning debug message key value id group daemon www undefined unknown selected process source path output
    """.split()  # noqa: SIM905 - a list of words, one does not read quotes
)
LEAST = 3  # letters of a name that is hidden everywhere


def of_page(data: bytes) -> set[str]:
    """Users, mail addresses and hosts that any markup, attribute, comment or script names; logs are left to `of_text`."""
    data = _without_logs(data)
    found = {name.decode("ascii", "ignore") for name in _names(data)}
    hosts = {match[1].decode("ascii", "ignore").rstrip(".") for match in _behind(data, b"://", _URL)}
    return {word for word in found if is_name(word)}.union(*map(of_host, hosts))


def of_text(text: str) -> set[str]:
    """The same of a log."""
    return {word for name in _names(text.encode("utf-8", "replace")) if is_name(word := name.decode("ascii", "ignore"))}


def _without_logs(data: bytes) -> bytes:
    first, *logs = data.split(b"<dqm-log")
    rest = b"".join([first, *(log.partition(b"</dqm-log>")[2] for log in logs)])
    return b"<".join(dict.fromkeys(rest.split(b"<")))  # the rows of a table are much alike


@functools.lru_cache(4096)
def of_host(host: str) -> frozenset[str]:
    """A host's name, and its first part, by which it is called at home."""
    first = host.partition(".")[0]
    if _is_plain_number(host):
        return frozenset()
    return frozenset(name for name in (host, first) if is_name(name) and (name == host or len(name) > LEAST))


def _names(data: bytes) -> Iterator[bytes]:
    for literal, behind in _USERS:
        yield from (match[1].rstrip(b".-") for match in _behind(data, literal, behind))
    for match in _behind(data, b"@", _MAIL):
        before = _BEFORE.search(data[max(0, match.start() - 65) : match.start() - 1])
        if before:
            yield before[0]


def _behind(data: bytes, literal: bytes, behind: re.Pattern[bytes]) -> Iterator[re.Match[bytes]]:
    at = data.find(literal)
    while at >= 0:
        at += len(literal)
        if match := behind.match(data, at):
            yield match
        at = data.find(literal, at)


def is_name(word: str) -> bool:
    """Is it a word to hide everywhere?"""
    return len(word) >= LEAST and word.lower() not in _NOBODY


def of_job(identity: str, host: str) -> set[str]:
    """What a job's own fields hold."""
    return {identity, host} | of_host(host)


def host_of(uri: str) -> str:
    """The host of a URI; empty when it has none."""
    found = re.match(r"[a-z]+://(?:[^/@]*@)?(\[[^\]]*\]|[^:/?#]+)", uri)
    return found[1] if found else ""


def _is_plain_number(host: str) -> bool:
    return not re.search("[A-Za-z]", host.partition(".")[0])
