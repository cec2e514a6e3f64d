"""From a rotten zip on tape back to a good one: what daq-audit found is mended by daq-archive, and read by daq-restore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.daq.archive_steps import DAY, Archive
from tests.daq.tape_steps import flip, tree
from tests.support import Server


def test_what_the_audit_found_bad_is_zipped_again_from_the_site_and_comes_back(
    home: Path, serve: Callable[..., Server], short_tmp: Path
) -> None:
    site, lfn, data = Archive(home, serve), DAY + "run_250131.dat", b"what the detector saw " * 400
    site.only()
    site.start()
    site.at_site(lfn, data=data, freed=True)
    site.settle()
    assert site.files() == {"Freed": 1}
    flip(site.on_tape(lfn), 400)
    assert "bad on tape" in site.run("daq-audit", lfn).gave(1).err
    assert site.files() == {"Bad": 1}
    site.run("daq-restore", lfn, "--to", short_tmp / "back").gave(1)
    site.on_tape(lfn).unlink()  # as it was told: nothing on tape is replaced by itself
    site.run("daq-archive", "--retry", lfn).ok()
    site.settle()
    assert site.files() == {"Freed": 1}
    site.run("daq-audit", lfn).ok()
    site.run("daq-restore", lfn, "--to", short_tmp / "back").ok()
    assert tree(short_tmp / "back") == {lfn[1:].encode(): data}
