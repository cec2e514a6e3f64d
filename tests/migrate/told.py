"""How trouble is told: one clear message a thing, on stderr for people and in the JSON object for programs."""

from __future__ import annotations

import re
from typing import Any

from tests.support import Result

WORDS = ("what", "subject", "why", "left", "next")


def problems(result: Result, code: int, state: str) -> list[dict[str, str]]:
    """The problems of a pass that was run with --json: exit code, state and both ways of telling agree, nothing is empty."""
    record: dict[str, Any] = result.gave(code).json
    assert record["state"] == state, result
    told: list[dict[str, str]] = record["errors"]
    lines = result.err.splitlines()
    assert len(lines) == len(told), f"a line on stderr for each problem: {result}"
    for line, one in zip(lines, told, strict=True):
        assert sorted(one) == sorted(WORDS), one
        assert all(one.values()), f"an empty word: {one}"
        assert re.match(r"[a-z]+-[a-z]+: .*; .*; ", line), line
        for word in ("why", "left", "next"):
            assert one[word].split("\n")[0][:40] in line, (word, line)
    return told


def one_problem(result: Result, code: int, state: str, **parts: str | tuple[str, ...]) -> dict[str, str]:
    """The one problem of a pass; `parts`: texts that its words hold."""
    told = problems(result, code, state)
    assert len(told) == 1, f"one message wanted: {result}"
    holds(told[0], **parts)
    return told[0]


def holds(one: dict[str, str], **parts: str | tuple[str, ...]) -> None:
    """Each word of a problem holds these texts."""
    for word, texts in parts.items():
        for text in (texts,) if isinstance(texts, str) else texts:
            assert text in one[word], f"{text!r} is not in {word}: {one}"
