"""The rules of the settings: which source and destination an LFN has, and which LFN a pair of URLs had."""

from __future__ import annotations

import functools

from dmtools import names
from dmtools.settings import Rule, Settings
from dmtools.spool.listfile import Pair, check_url


class Rules:
    """[migrate] rules: the longest literal prefix on a path-component boundary wins."""

    def __init__(self, settings: Settings) -> None:
        self._rules = sorted(settings.migrate.rules, key=lambda rule: -len(_prefix(rule.match)))
        self._by_match = {rule.match: rule for rule in self._rules}

    def all(self) -> list[Rule]:
        """Every rule."""
        return self._rules

    def rule_for(self, lfn: str) -> Rule | None:
        """The rule of an encoded LFN; None: no rule matches."""
        for rule in self._rules:
            prefix = _prefix(rule.match)
            if lfn == prefix or lfn.startswith(prefix + "/"):
                return rule
        return None

    def by_match(self, match: str | None) -> Rule | None:
        """The rule with this `match`."""
        return self._by_match.get(match) if match is not None else None

    def the_only(self) -> Rule | None:
        """The rule when there is one and it takes every LFN: the fast way."""
        return self._rules[0] if len(self._rules) == 1 and _prefix(self._rules[0].match) == "" else None

    def pair(self, raw: bytes) -> tuple[Rule, Pair]:
        """The raw bytes of an LFN -> its rule and its two URLs. Raises NameRefused with the reason."""
        shown = names.shown(names.encode(raw))
        if raw.endswith(b"\r"):
            raise names.NameRefused(
                f"{shown} ends with a carriage return: the list has Windows line ends (mend it with dos2unix)"
            )
        names.check_path(raw, shown)
        if any(byte < 32 or byte == 127 for byte in raw):
            raise names.NameRefused(f"{shown} holds a control character")
        lfn = names.encode(raw)
        rule = self.rule_for(lfn)
        if rule is None:
            raise names.NameRefused(f"no rule of [migrate] rules matches {shown}")
        rest = lfn[len(_prefix(rule.match)) :]
        found = Pair(_base(rule.source) + rest, _base(rule.destination) + rest)
        check_url(found.source)
        check_url(found.destination)
        return rule, found

    def lfn(self, pair: Pair) -> str:
        """The LFN that makes this pair; else the one whose source this is; else the destination's path."""
        best = (-1, "")
        for rule in self._rules:
            base = _base(rule.source)
            if not pair.source.startswith(base + "/"):
                continue
            rest = pair.source[len(base) :]
            lfn = _prefix(rule.match) + rest
            if pair.destination == _base(rule.destination) + rest and self.rule_for(lfn) is rule:
                return lfn
            best = max(best, (len(base), lfn), key=lambda found: found[0])
        return best[1] or "/" + pair.destination.partition("://")[2].partition("/")[2].lstrip("/")

    def match_of(self, pair: Pair) -> str | None:
        """The `match` of the rule that a pair follows."""
        rule = self.rule_for(self.lfn(pair))
        return rule.match if rule is not None and pair.source.startswith(_base(rule.source) + "/") else None


@functools.cache
def _prefix(match: str) -> str:
    return names.encode(match.rstrip("/").encode("utf-8"))


@functools.cache
def _base(url: str) -> str:
    return names.normal(url).removesuffix("/")  # one only: root://host// means the root of that server
