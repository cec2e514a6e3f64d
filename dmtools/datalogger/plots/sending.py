"""A site that is made goes to others by rsync: data first, the pages last, then what is old goes there, too."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from dmtools.control.passes import Pass
from dmtools.datalogger.plots import places

SECONDS = 1800
SILENCE = 60
_SSH = f"ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval={SILENCE // 4}"
# By checksum: two pages of one size that were made within one second would pass for the same.
_WORDS = ("rsync", "--recursive", "--checksum", "--times", "--perms", "--chmod=D755,F644", f"--timeout={SILENCE}", "--rsh", _SSH)


def send(this: Pass, site: Path, target: str) -> None:
    """Brings it to a directory or to host:path. What fails is told; the site here and the old one there stand whole."""
    pages = [f"--filter=+ /{name}" for name in (places.HELP, places.LISTING, places.INDEX)]
    files = [f"--filter=+ /{name}/***" for name in (places.DATA, places.ASSETS)]
    others = ["--filter=- *"]
    hidden = ["--filter=H .*"]
    for words in ([*hidden, *files, *others], [*hidden, *pages, *others], [*hidden, *files, *others, "--delete-after"]):
        why = _rsync([*words, "--", f"{site}/", f"{target.rstrip('/')}/"])
        if why:
            left = "the site here is whole, and so is the old one there"
            this.problem("not published", target, why=why, left=left, next="the next pass sends it again; try it: rsync -n")
            return
    this.log(f"published to {target}")


def _rsync(words: Sequence[str]) -> str:
    """Why it failed; empty when it did not."""
    try:
        done = subprocess.run([*_WORDS, *words], capture_output=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return "rsync is not on this machine; install the package rsync"
    except subprocess.TimeoutExpired:
        return f"rsync did not end within {SECONDS} s"
    if done.returncode == 0:
        return ""
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return f"rsync ended with {done.returncode}: {said[0] if said else 'it said nothing'}"
