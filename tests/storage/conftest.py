"""Places that misbehave as real ones do: a mount that hangs."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmtools.settings import Settings

_LIBC = ctypes.CDLL(None, use_errno=True)
_DETACH = 2


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def hung_mount(short_tmp: Path) -> Iterator[Path]:
    """A FUSE file system whose server never answers: every call on it waits, as on a dead NFS server."""
    place = short_tmp / "hung"
    place.mkdir()
    server = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode("ascii")
    assert _LIBC.mount(b"hung", os.fsencode(place), b"fuse", 0, options) == 0, os.strerror(ctypes.get_errno())
    yield place
    _LIBC.umount2(os.fsencode(place), _DETACH)
    os.close(server)  # now those who wait get an error


@pytest.fixture(autouse=True)
def impatient_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """xrdfs looks up this host's own name at each start; where the name server loses packets that would take 5 s each."""
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")
