"""lta-nersc-client as one file: this package's modules and the libraries they stand on, run by a bare python3."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import zipapp
from pathlib import Path

from dmtools.command.run import Context, Refused

LIBRARIES = ("click", "tenacity")
OURS = (
    *(
        "__init__.py",
        "clock.py",
        "names.py",
        "durable.py",
        "lta/__init__.py",
        "lta/wire.py",
        "lta/distrust.py",
        "lta/remote",
        "batch",
    ),
    *(
        "command/__init__.py",
        "command/completing.py",
        "command/named.py",
        "command/run.py",
        "command/report.py",
        "command/log.py",
    ),
    *("storage/__init__.py", "storage/answers.py", "storage/deadline.py", "spool/__init__.py", "spool/folders.py"),
)
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.so", "*.pyi", "build.py")


def build(context: Context, target: Path) -> None:
    """Writes the file, whole or not at all. Raises Refused."""
    if target.is_dir():
        raise Refused(f"{target} is a directory; name the file that is to be made")
    if context.dry_run:
        context.plan(f"would write {target}")
        return
    with tempfile.TemporaryDirectory() as place:
        tree, made = Path(place, "tree"), Path(place, "made")
        _fill(tree)
        zipapp.create_archive(tree, made, "/usr/bin/env python3", compressed=True)
        hidden = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            shutil.copyfile(made, hidden)
            hidden.chmod(0o755)
            hidden.rename(target)
        finally:
            hidden.unlink(missing_ok=True)
    context.say(f"{target}: {target.stat().st_size:,} bytes; at the remote site: python3 {target.name} --config FILE --dry-run")


def _fill(tree: Path) -> None:
    here = Path(__file__).resolve().parents[2]
    for name in OURS:
        _copy(here / name, tree / "dmtools" / name)
    for name in LIBRARIES:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            raise Refused(f"the library {name} is not installed here; nothing was written; dm-setup installs it")
        _copy(Path(found.origin).parent, tree / name)
    shutil.copyfile(Path(sys.argv[0]).resolve(), tree / "__main__.py")


def _copy(source: Path, target: Path) -> None:
    if not source.exists():
        raise Refused(f"{source} is not there: build the file from a checkout or an installation, not from the file itself")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=_LEFT_OUT)
    else:
        shutil.copyfile(source, target)
