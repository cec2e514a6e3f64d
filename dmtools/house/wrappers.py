"""`.venv/bin/NAME` for every `bin/NAME`: runs the checkout's file, so an edit shows at once; one exec, no Python of its own."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

MARK = "# dm-setup made this:"


def text(root: Path, command: Path) -> str:
    """The wrapper of one command; a command that is no Python is run as it is."""
    with command.open("rb") as file:
        python = b"python" in file.readline()
    runner = f"{shlex.quote(str(root / '.venv/bin/python'))} " if python else ""
    return f'#!/bin/sh\n{MARK} it runs the checkout\'s own file.\nexec {runner}{shlex.quote(str(command))} "$@"\n'


def commands(root: Path) -> list[Path]:
    """The commands of the checkout, by name."""
    return sorted(
        path for path in (root / "bin").iterdir() if path.is_file() and not path.name.startswith(".") and "." not in path.name
    )


def sync(root: Path) -> list[str]:
    """Writes the wrappers that are missing or differ, removes those whose command is gone. Gives the names it touched."""
    place = root / ".venv/bin"
    touched = []
    wanted = {command.name: text(root, command) for command in commands(root)}
    for name, body in wanted.items():
        if _read(place / name) != body:
            write(place / name, body, 0o755)
            touched.append(name)
    for path in place.iterdir():
        if path.name not in wanted and MARK in _read(path)[:200]:
            path.unlink()
            touched.append(path.name)
    if link_pages(root):
        touched.append("man pages")
    return touched


def link_pages(root: Path) -> bool:
    """`.venv/share/man/man1`, where `man` looks for the pages of what is in `.venv/bin`. Was there anything to do?"""
    link = root / ".venv/share/man/man1"
    if os.path.lexists(link):
        return False
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("../../../docs/man")
    return True


def write(path: Path, body: str, mode: int) -> None:
    """Puts a whole small file in place by rename: a cron job that starts meanwhile sees the old or the new one."""
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    hidden.write_text(body, "utf-8")
    hidden.chmod(mode)
    hidden.replace(path)


def _read(path: Path) -> str:
    if path.is_dir() or not path.exists() or path.stat().st_size > 65536:
        return ""
    return path.read_bytes().decode("utf-8", "replace")
