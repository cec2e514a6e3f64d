"""`dm-config init --pipeline daq`: the safety level is asked at a terminal, with what each risks, and never elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

from dmtools.settings import load
from tests.support import command, environment, run, wait_until


def at_a_terminal(home: Path, answer: bytes) -> str:
    """Runs it on a terminal of its own, and types the answer when it is asked."""
    ours, theirs = pty.openpty()
    said = b""

    def read() -> bool:
        nonlocal said
        said += os.read(ours, 65536)
        return b"safety [" in said

    argv = command("dm-config", "init", home, "--pipeline", "daq")
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment()) as process:
        os.close(theirs)
        wait_until(read, 20, "it asks")
        os.write(ours, answer + b"\n")
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:  # its side was closed
            pass
    os.close(ours)
    assert process.returncode == 0, said
    return " ".join(said.decode().split())


def test_a_terminal_is_asked_and_told_what_each_level_risks(tmp_path: Path) -> None:
    said = at_a_terminal(tmp_path / "a", b"2")
    assert "the site has the only copy" in said
    assert "the DAQ may have to stop" in said
    assert load(home=tmp_path / "a").daq.safety == "site-verified"


def test_a_script_is_never_asked_and_gets_the_safer_level(tmp_path: Path) -> None:
    for name, words, level in (("a", (), "tape-verified"), ("b", ("--safety", "site-verified"), "site-verified")):
        home = tmp_path / name
        found = run("dm-config", "init", home, "--pipeline", "daq", *words, stdin="2\n").ok()
        assert "safety [" not in found.out
        assert load(home=home).daq.safety == level
        assert f'\ndaq.safety = "{level}"\n' in (home / "dmtools.toml").read_text(), "the level stands there to be read"
    before = (tmp_path / "a/dmtools.toml").read_bytes()
    run("dm-config", "init", tmp_path / "a", "--pipeline", "daq").ok()
    refused = run("dm-config", "init", tmp_path / "a", "--safety", "site-verified").gave(2)
    assert "never changed by init" in refused.err
    assert "belong to init" in run("dm-config", "check", "--safety", "site-verified", home=tmp_path / "a").gave(2).err
    assert (tmp_path / "a/dmtools.toml").read_bytes() == before
