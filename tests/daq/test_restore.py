"""daq-restore: files back from tape, proved equal to the original before they appear."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools import names
from tests.daq.tape_steps import DAY, NASTY, Tape, below, flip, lfn_of, tree
from tests.support import Result


@pytest.fixture
def tape(home: Path) -> Tape:
    return Tape(home)


def test_every_name_comes_back_equal_from_one_fetch_of_the_zip(tape: Tape, short_tmp: Path) -> None:
    zipped = tape.put({lfn_of(name): name * 3000 for name in NASTY} | {DAY + "empty": b""})
    back, trace, listed = short_tmp / "back", short_tmp / "trace", short_tmp / "list"
    listed.write_bytes(b"# wanted\n" + b"".join(b"%b%b\n" % (DAY.encode(), name) for name in NASTY if b"\n" not in name))
    spelt = lfn_of(b"two\nlines.dat")  # a list can't hold it; dm-trace shows it so
    prefix = ("strace", "-f", "-qq", "-o", trace, "-e", "trace=openat", "-P", zipped)
    done = tape.restore("--list", listed, spelt, DAY + "empty", to=back, prefix=prefix, env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert done.gave(0).err == ""
    assert tree(back) == {names.decode(lfn).lstrip(b"/"): data for lfn, data in tape.files.items()}
    assert len(re.findall(r"openat\(.*O_RDONLY", trace.read_text())) == 1
    assert below(back, DAY + "empty").stat().st_mtime_ns == 1_700_000_000_123_456_789
