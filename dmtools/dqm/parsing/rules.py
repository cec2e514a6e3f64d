"""The built-in rules on a line of a log: what is private, by its form, and the word that takes its place.

Each is linear: no repeat within a repeat. They rather hide too much: a text that must stay is named by `[dqm] show`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

PATH, HOST, USER, MAIL, URL, ADDRESS, SECRET, HIDDEN = (
    f"[{word}]" for word in ("path", "host", "user", "mail", "url", "address", "secret", "hidden")
)


@dataclass(frozen=True)
class Rule:
    """`hints`: a line that holds none of them, in small letters, can't have what the rule looks for; none: it may."""

    pattern: re.Pattern[str]
    instead: str | Callable[[re.Match[str]], str]
    hints: tuple[str, ...] = ()


_KEYWORDS = (
    r"(?:[\w-]*(?:passw(?:or)?d|passwd|passphrase|pwd|secret|token|credential|api_?-?key|apikey|private_?-?key|access_?-?key"
    r"|auth|cookie|session(?:_?id)?|signature|proxy)s?)"
)
_VALUE = r"(?:\"[^\"]*\"|'[^']*'|[^\s,;]+)"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})"
# Endings of names that are files or code, not domains.
_NO_DOMAIN = (
    r"(?:root|py|pyc|cc|cpp|cxx|hh|hpp|so|log|txt|dat|raw|xml|json|jsn|ini|pb|db|sqlite|cfg|cfi|cff|html|css|gz|zip|tar|md|sh|csv|png"
    r"|pdf|yml|yaml|toml|out|err|tmp|bin)"
)
# Words with dots that are configuration of CMSSW, not hosts: process.source, cms.Source.
_NO_HOST_NAME = r"(?!(?:process|self|sys|os)\.[A-Za-z]|cms\.[A-Z])"
# First parts of words like run-380001, which are no hosts.
_NO_HOST = re.compile(
    r"(?i)(?:run|ls|lumi|stream|utf|iso|event|thread|job|module|step|exit|level|core|cpu|sha|md|crc|sse|avx|phase|part|line)-\d+"
)
_UNITS = (
    r"(?:evt|evts|event|events|ev|kb|mb|gb|b|kib|mib|gib|hz|ms|us|s|ls|and|or|n|a|i|o|r|w|yes|no|on|off|input|output|read|write)"
)
_STOP = (
    r"(?:is|was|has|the|a|an|of|in|to|for|and|or|by|with|not|no|code|defined|input|data|space|mode|time|module|agent|id|event"
    r"|error)\b"
)


def _path(match: re.Match[str]) -> str:
    """A word with a slash: a path, but for numbers (12/100) and units (evt/s)."""
    word = match[0].strip(".,;:!?()[]{}")
    if re.fullmatch(rf"(?i)\d+(?:\.\d+)?/\d+(?:\.\d+)?|\(?{_UNITS}/{_UNITS}\)?", word):
        return match[0]
    return PATH


def _v6(match: re.Match[str]) -> str:
    """Groups with colons: an address, but for a time of day."""
    return match[0] if re.fullmatch(r"\d{1,2}:\d\d:\d\d", match[0]) else ADDRESS


def _dashed(match: re.Match[str]) -> str:
    """Words with dashes and digits: a host, but for such as run-380001."""
    word = match[0]
    return word if not re.search(r"\d", word) or _NO_HOST.fullmatch(word) else HOST


def _token(match: re.Match[str]) -> str:
    """A long word without meaning: digits among letters, or both cases mixed as no name mixes them."""
    word = match[0]
    if "_" in word and all(re.fullmatch(r"\d{0,4}[A-Za-z]{0,24}\d{0,6}", part, re.ASCII) for part in word.split("_")):
        return word  # a name of code or of a trigger
    letters = sum(1 for c in word if c.isalpha())
    digits = sum(1 for c in word if c.isdigit())
    if digits >= 2 and letters >= 2 and (len(word) >= 24 or _is_mixed(word)):
        return SECRET
    if (digits >= 2 and len(word) >= 20) or (digits and word.upper() == word):
        return SECRET
    return SECRET if len(word) >= 24 and (word.endswith("=") or _is_mixed(word)) else word


def _is_mixed(word: str) -> bool:
    """Does the case change more often than in a name of code?"""
    changes = sum(1 for a, b in pairwise(word) if (a.isupper(), a.isdigit()) != (b.isupper(), b.isdigit()))
    return changes * 2.2 >= len(word)


def _rule(pattern: str, instead: str | Callable[[re.Match[str]], str], *hints: str) -> Rule:
    return Rule(re.compile(pattern), instead, hints)


_SECRET_HINTS = ("pass", "pwd", "secret", "token", "credential", "key", "auth", "cookie", "session", "signature", "proxy")
_PERSONS = ("user", "login", "logname", "account", "owner", "operator", "shifter", "author", "sudo", "contact", "group")

BUILT_IN = (
    _rule(r"-----BEGIN .*|-----END .*", SECRET, "-----"),
    _rule(
        r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]*(?:token|auth|key)[\w-]*)\b\s*[:=].*",
        rf"\1: {SECRET}",
        *("auth", "cookie", "token", "key"),
    ),
    _rule(r"(?i)\b(bearer|basic|negotiate)\s+[A-Za-z0-9._~+/=-]{6,}", rf"\1 {SECRET}", "bearer", "basic", "negotiate"),
    _rule(rf"(?i)(?<![A-Za-z0-9])({_KEYWORDS})([\"']?\s{{0,3}}(?:=|:(?!:))\s{{0,3}}){_VALUE}", rf"\1\2{SECRET}", *_SECRET_HINTS),
    _rule(rf"(?i)(?<!\w)(--?{_KEYWORDS})\s+{_VALUE}", rf"\1 {SECRET}", *_SECRET_HINTS),
    _rule(r"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>]*", URL, "://"),
    _rule(r"(?i)\b(?:mailto|data|javascript|file):[^\s\"'<>]+", URL, "mailto:", "data:", "javascript:", "file:"),
    _rule(r"[^\s<>\"'(),;:=|]*@[^\s<>\"'(),;|]*", MAIL, "@"),
    _rule(
        r"(?i)\b[^\s@]{1,64}\s?(?:\(at\)|\[at\]| at )\s?[a-z0-9.-]{1,253}\s?(?:\(dot\)|\[dot\]| dot )\s?[a-z]{2,}",
        MAIL,
        *("(dot)", "[dot]", " dot "),
    ),
    _rule(r"\"(?:~|[A-Za-z]:)?[/\\][^\"]*\"|'(?:~|[A-Za-z]:)?[/\\][^']*'", PATH, "/", "\\"),
    _rule(r"(?:\b[A-Za-z]:)?\\{1,4}[^\s\"'<>|]*|(?<!\w)~[\w.-]+", PATH, "\\", "~"),
    _rule(r"(?<![A-Za-z0-9_])(?![A-Z]\w*/'\w+')[^\s\"'<>=,;|()]*/[^\s\"'<>|]*", _path, "/"),
    _rule(
        r"(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,7}|::[0-9A-Fa-f:]{1,39})(?:(?:\.\d{1,3}){3})?(?:%\w+)?(?!\w)",
        _v6,
        ":",
    ),
    _rule(r"(?<![\w:])[0-9A-Fa-f]{1,4}::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?(?![\w:])", ADDRESS, "::"),
    _rule(r"(?<![0-9A-Fa-f-])[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}(?![0-9A-Fa-f-])", ADDRESS, "-"),
    _rule(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)(?::\d+)?", ADDRESS, "."),
    _rule(
        rf"(?<![\w.]){_NO_HOST_NAME}(?:{_LABEL}\.)+(?!(?i:{_NO_DOMAIN})\b)[A-Za-z][A-Za-z-]{{1,62}}\.?(?!\w)(?::\d+)?", HOST, "."
    ),
    _rule(r"(?<![\w-])[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)+(?![\w-])", _dashed, "-"),
    _rule(
        rf"(?i)((?:host|node|machine|server)(?:name)?\s?[:=]\s?|(?:on|from|to)\s(?:host|node|machine)\s)[\"']?(?!{_STOP}|\[)[\w.-]+",
        rf"\1{HOST}",
        *("host", "node", "machine", "server"),
    ),
    _rule(r"(?i)([ug]id=\d+\()[^)]*\)", rf"\1{USER})", "id="),
    _rule(r"([-dlcbsp][-rwxsStT]{9}[.+@]?\s+\d+\s+)\S+\s+\S+", rf"\1{USER} {USER}", "r--", "-wx", "rwx", "---", "r-x"),
    _rule(
        r"(?i)((?:user|username|login|logname|account|owner|operator|shifter|author|sudo|contact|group)[\"']?"
        r"\s{0,3}[:=]\s{0,3}[\"']?)(?!\[)[\w.-]+(?:[ ,]+(?-i:[A-Z])[\w.-]+){0,2}",
        rf"\1{USER}",
        *_PERSONS,
    ),
    _rule(
        r"(?i)\b((?:user|account|operator|shifter|owner|(?:submitted|started|run|owned|killed|requested|called) by|sudo -u|su -"
        rf"|--?user|(?:log(?:ged)? ?in|login) as)\s+[\"']?)(?!{_STOP}|\[)[a-z_][\w.-]{{1,31}}(?:\s(?-i:[A-Z])[\w.-]+)?",
        rf"\1{USER}",
        *(*_PERSONS, "by ", "su "),
    ),
    _rule(r"\beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){0,2}", SECRET, "eyj"),
    _rule(r"(?<![A-Za-z0-9+/_=-])(?:0[xX])?[A-Za-z0-9+/_-]{16,}={0,2}", _token),
)
