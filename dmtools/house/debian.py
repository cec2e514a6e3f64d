"""Debian's packages: what is missing is installed by name, as root; else one sentence says what to ask for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from dmtools.house.components import Component
from dmtools.house.steps import Talk, run
from dmtools.house.trouble import Trouble

_QUIETLY = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def may_install() -> bool:
    """Whether apt may be used here: by root, on Debian and its kin."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(talk: Talk, components: Sequence[Component]) -> None:
    """Installs the packages of these components. Raises Trouble."""
    packages = sorted({name for one in components for name in one.packages})
    if not packages:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    with talk.step(f"Debian packages {' '.join(packages)}"):
        try:
            run(talk, "apt-get install", command, _QUIETLY)
        except Trouble:
            # The lists of packages may be old or not there at all.
            run(talk, "apt-get update", ["apt-get", "update"], _QUIETLY)
            run(talk, "apt-get install", command, _QUIETLY)


def sentence(components: Sequence[Component]) -> str:
    """What is missing, what for and how to get it, and how tests go without it."""
    names = ", ".join(f"{one.name} ({one.purpose})" for one in components)
    packages = sorted({name for one in components for name in one.packages})
    ways = [f"sudo apt-get install {' '.join(packages)}"] if packages else []
    ways += ["run as root"] if any(not one.packages for one in components) else []
    text = f"missing on this machine: {names}; get it: {'; '.join(ways)}"
    left_out = [one.name for one in components if one.group != "build"]
    if left_out:
        text += f"; or go without: bin/dm-test --without {','.join(left_out)}"
    return text
