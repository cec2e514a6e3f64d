"""What is read at the remote site from elsewhere: hsi's words, result files, the control word. Anything may stand there."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.command.run import Unavailable
from dmtools.lta.remote import jobfile, tape_hsi, words
from dmtools.lta.remote.jobfile import BadFile, Outcome
from dmtools.lta.remote.settings import Remote
from dmtools.lta.remote.tape import TapeError
from dmtools.storage.deadline import Finished

PATH = "/p/exp/a b.zip"
SUM = "0123456789abcdef" * 8
LINE = "-rw-r-----   1 ice cube {size} {when} {name}"
WHEN = st.sampled_from(["Nov 21 13:31", "Nov 21 2019", "Nov 21 13:31:03 2019", "Thu Nov 21 13:31:03 2019"])
NOISE = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            [
                f"{PATH}: (sha512) OK",
                f"{SUM} sha512 {PATH} [hsi]",
                "<html>",
                "HPSS_ENOENT",
                LINE.format(size=3, when="Nov 21 2019", name=PATH),
                "drwxr-x---   1 ice cube 512 Nov 21 2019 " + PATH,
            ]
        ),
    ),
    max_size=4,
).map("\n".join)


def said(out: str, code: int = 0, err: str = "") -> Finished:
    return Finished(code, out.encode("utf-8", "surrogateescape"), err.encode(), False)


@given(size=st.integers(0, 2**62), when=WHEN, whole=st.booleans())
def test_a_listing_of_one_file_is_its_size(size: int, when: str, whole: bool) -> None:
    line = LINE.format(size=size, when=when, name=PATH if whole else "a b.zip")
    assert tape_hsi.listed(said(line + "\n"), PATH) == size
    assert tape_hsi.listed(said("/p/exp:\n" + line), PATH) == size
    for other in (line + "\n" + line, line.replace("a b.zip", "b.zip"), "note\n" + line, line.replace("-rw", "drw", 1), ""):
        with pytest.raises(TapeError):
            tape_hsi.listed(said(other), PATH)


@given(out=NOISE, code=st.sampled_from([0, 1, 64, 70, -9]), err=st.sampled_from(["", "HPSS_ENOENT", "HSI: error"]))
def test_any_other_words_of_hsi_are_neither_a_file_nor_its_absence(out: str, code: int, err: str) -> None:
    try:
        size = tape_hsi.listed(said(out, code, err), PATH)
    except TapeError:
        size = -1
    if size is None:
        assert code == 64
        assert "HPSS_ENOENT" in out + err
    elif size >= 0:
        assert code == 0
        assert str(size) in out
    try:
        found = tape_hsi.summed(said(out, code, err), PATH)
    except TapeError:
        found = None
    assert found in (None, SUM)
    assert found is None or (code == 0 and f"{SUM} sha512 {PATH}" in out)
    try:
        right = tape_hsi.verified(said(out, code, err), PATH)
    except TapeError:
        right = False
    assert not right or (code == 0 and f"{PATH}: (sha512) OK" in out)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("key", "outcome", "cls", "why", "size", "sha512", "differs")


@given(content=st.one_of(st.dictionaries(st.sampled_from(FIELDS), JSON), JSON), cut=st.integers(0, 40))
def test_a_result_file_of_any_content_is_refused_or_whole(content: object, cut: int) -> None:
    text = json.dumps(content).encode()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "result.json")
        file.write_bytes(text[: len(text) - cut] if cut < 20 else text)
        try:
            found = jobfile.read_outcome(file, "k")
        except BadFile:
            return
        assert isinstance(found, Outcome)
        assert (found.key, isinstance(found.why, str)) == ("k", True)


@given(word=st.one_of(st.sampled_from(["run", "halt", "Drain \n", "HALT"]), st.text(string.printable, max_size=9)))
def test_a_word_is_one_of_three_or_nothing_begins(word: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, words.FILE)
        file.parent.mkdir()
        file.write_text(word)
        try:
            found, _ = words.own(Remote(home=Path(place)))
        except Unavailable:
            assert word.strip().lower() not in words.RANK
        else:
            assert found == word.strip().lower()
