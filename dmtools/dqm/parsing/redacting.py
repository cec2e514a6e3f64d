"""The cleaner: texts in, texts without what is private out. It fails closed: what it can't clean nobody gets."""

from __future__ import annotations

import html
import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from dmtools.dqm.parsing import rules, trie
from dmtools.dqm.parsing.harvest import is_name, of_text
from dmtools.dqm.parsing.rules import HIDDEN, SECRET
from dmtools.settings.dqm import Dqm

LINES = 4000  # of one text; the middle of a longer one is left out
LINE = 20_000  # characters of a line that is looked at at all
SHOWN = 2000  # characters of a line
TEXTS_MOST = 5000  # that are remembered
KNOWN_MOST = 20_000  # words; more than that is no page
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u061c\u115f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_ENCODED = re.compile(r"\S*(?:%[0-9A-Fa-f]{2}|&#?\w{1,8};|=[0-9A-F]{2}=)\S*")
_CODE = re.compile("[A-Za-z0-9+/=_-]")
_WHOLE_WORD = 5  # a shorter known word is hidden where it stands alone


class Withheld(Exception):
    """A text that can't be shown; the text of the exception says why and holds nothing of it."""


class Cleaner:
    """One for all texts of a HOME: what it has learnt to be private in one page it hides in all."""

    def __init__(self, settings: Dqm) -> None:
        self.trouble = ""  # why nothing can be cleaned
        self._show = frozenset(word.lower() for word in settings.show)
        self._hide = [word.lower() for word in settings.hide if word]
        self._patterns: list[re.Pattern[str]] = []
        for pattern in settings.hide_patterns:
            try:
                self._patterns.append(re.compile(pattern))
            except (re.error, RecursionError, OverflowError):
                self.trouble = "a pattern of [dqm] hide_patterns can't be used"
        self._known: dict[str, None] = {}
        self._texts: dict[str, str] = {}
        self._heard: set[str] = set()
        self._lines: dict[str, str] = {}
        self._compile()

    def learn(self, words: Iterable[str]) -> None:
        """Words that are private, as the page shows elsewhere."""
        new = {word.lower() for word in words} - self._known.keys() - self._show
        if not new:
            return
        if len(self._known) + len(new) > KNOWN_MOST:  # old runs' ids: those of now are said again with each page
            self._known.clear()
        self._known |= dict.fromkeys(new)
        self._texts.clear()
        self._lines.clear()
        self._compile()

    def _compile(self) -> None:
        words = [word for word in self._known if is_name(word)]
        long = {word for word in words if len(word) >= _WHOLE_WORD} | set(self._hide)
        short = {word for word in words if len(word) < _WHOLE_WORD}
        ways = [trie.expression(long)] if long else []
        if short:
            ways.append(f"(?<![a-z0-9]){trie.expression(short)}(?![a-z0-9])")
        self._words = re.compile("|".join(ways)) if ways else None
        coded = {form for word in {*long, *short} for form in _coded(word)}
        self._coded = re.compile(trie.expression(coded)) if coded else None

    def learn_of(self, texts: Iterable[str]) -> None:
        """What texts name by their own words: users, mail addresses. Of each text once."""
        new = [text for text in texts if text not in self._texts and text not in self._heard]
        if len(self._heard) > TEXTS_MOST:
            self._heard.clear()
        self._heard.update(new)
        self.learn(set().union(*map(of_text, new)))

    def text(self, text: str) -> str:
        """The text without what is private. Raises Withheld."""
        if self.trouble:
            raise Withheld(self.trouble)
        if (known := self._texts.get(text)) is not None:
            return known
        try:
            cleaned = "\n".join(self._cleaned_lines(text)).rstrip("\n")
        except Withheld:
            raise
        except Exception as problem:  # noqa: BLE001 - whatever it is: a text that was not cleaned is not shown
            raise Withheld(f"the rules failed ({type(problem).__name__})") from None
        self._texts[text] = cleaned
        return cleaned

    def forget_texts(self, most: int = TEXTS_MOST) -> None:
        """Keeps the memory within bounds; what is needed is cleaned again."""
        if len(self._texts) > most:
            self._texts.clear()
        if len(self._lines) > most * 20:
            self._lines.clear()

    def is_innocent(self, text: str) -> bool:
        """Is there nothing private in it?"""
        try:
            return self.text(text) == text
        except Withheld:
            return False

    def _cleaned_lines(self, text: str) -> Iterator[str]:
        lines = text.splitlines()
        left_out = len(lines) - LINES
        if left_out > 0:
            lines[LINES // 2 : LINES // 2 + left_out] = [f"[{left_out} lines are left out]"]
        inside = False  # of a key or certificate that takes several lines
        for line in lines:
            inside = inside or "-----BEGIN" in line
            yield SECRET if inside else self._line(line)
            inside = inside and "-----END" not in line

    def _line(self, line: str) -> str:
        if (known := self._lines.get(line)) is not None:
            return known
        if "\x1b" in line:  # colours: they part words, but they may also stand within one
            glued = _plain(_ESCAPES.sub("", line))
            plain = before = HIDDEN if self._without_words(glued) != glued else _plain(_ESCAPES.sub(" ", line))
        else:
            plain = before = _plain(line)
        for _ in range(4):
            after = self._encoded(self._once(before))
            if after == before:
                break
            before = after
        else:
            raise Withheld("it does not become clean")
        cleaned = line if before == plain == line else before
        if len(cleaned) > SHOWN:
            cleaned = cleaned[:SHOWN] + " [cut]"
        self._lines[line] = cleaned
        return cleaned

    def _once(self, line: str) -> str:
        """Each rule once."""
        line = self._without_words(line)
        for pattern in self._patterns:
            line = pattern.sub(HIDDEN, line)
        small = line.lower()
        for rule in rules.BUILT_IN:
            if not rule.hints or any(hint in small for hint in rule.hints):
                line = self._ruled(rule, line)
        return line

    def _ruled(self, rule: rules.Rule, line: str) -> str:
        if not self._show:
            return rule.pattern.sub(rule.instead, line)

        def instead(match: re.Match[str]) -> str:
            whole = match[0].lower().strip(".,;:!?()[]'\"")
            if whole in self._show or re.split(r"[\s=:\"'(]", whole)[-1] in self._show:
                return match[0]
            return match.expand(rule.instead) if isinstance(rule.instead, str) else rule.instead(match)

        return rule.pattern.sub(instead, line)

    def _without_words(self, line: str) -> str:
        if self._words is not None:
            small = line.lower()
            line = _hidden(line, self._words.finditer(small if len(small) == len(line) else line))
        return line if self._coded is None else _hidden(line, self._coded.finditer(line), _CODE)

    def _encoded(self, line: str) -> str:
        """A word that says something private when it is decoded is hidden whole."""
        if "%" not in line and "&" not in line and "=" not in line:
            return line

        def instead(match: re.Match[str]) -> str:
            word = match[0]
            for _ in range(4):
                decoded = _plain(html.unescape(unquote(word)).replace("\n", " "))
                if decoded == word:
                    return match[0]
                if self._once(decoded) != decoded:
                    return HIDDEN
                word = decoded
            return HIDDEN

        return _ENCODED.sub(instead, line)


def _hidden(line: str, found: Iterable[re.Match[str]], around: re.Pattern[str] | None = None) -> str:
    """Without what was found; `around`: and without what belongs to it on both sides."""
    parts, end = [], 0
    for match in found:
        begin, stop = match.span()
        if around is not None:
            begin, stop = _before(line, begin, around), _behind(line, stop, around)
        if stop > end:
            parts += [line[end : max(begin, end)], HIDDEN]
            end = stop
    return "".join([*parts, line[end:]]) if parts else line


def _before(line: str, at: int, around: re.Pattern[str]) -> int:
    while at and around.match(line[at - 1]):
        at -= 1
    return at


def _behind(line: str, at: int, around: re.Pattern[str]) -> int:
    while at < len(line) and around.match(line[at]):
        at += 1
    return at


def _plain(line: str) -> str:
    """One spelling: without colours and invisible characters; wide and narrow forms of letters are letters."""
    if len(line) > LINE:
        line = line[:LINE].rpartition(" ")[0] + " " + HIDDEN
    if line.isascii() and line.isprintable():
        return line
    line = _INVISIBLE.sub("", line).replace("\t", "    ")
    return line if line.isascii() else _INVISIBLE.sub("", unicodedata.normalize("NFKC", line))


def _coded(word: str) -> Iterator[str]:
    """A known word as it stands within base64, at each of the three places where it may begin, and as hexadecimal digits."""
    for form in dict.fromkeys((word, word.upper(), word.capitalize())):
        raw = form.encode()
        if len(raw) < _WHOLE_WORD:
            continue
        for skip in range(3):
            core = b64encode(b"\0" * skip + raw).decode().rstrip("=")
            core = core[(0, 2, 3)[skip] :]
            if (len(raw) + skip) % 3:
                core = core[:-1]
            if len(core) >= 6:
                yield core
                if "+" in core or "/" in core:
                    yield core.replace("+", "-").replace("/", "_")
        yield raw.hex()
        yield raw.hex().upper()
