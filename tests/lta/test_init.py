"""`dm-config init` for lta: what an operator must decide is asked at a terminal; the first tokens, and their hashes."""

from __future__ import annotations

import hashlib
import os
import pty
import sqlite3
import subprocess
from pathlib import Path

from dmtools.settings import load
from tests.support import command, environment, run, wait_until

OPEN = ("sh", "-c", 'umask 0; exec "$@"', "sh")
TOKENS = {"lta-worker": ("worker", "local"), "lta-nersc": ("worker", "nersc"), "lta-operator": ("operator", None)}


def rows(home: Path) -> dict[str, tuple[str, str | None, bytes, bool]]:
    with sqlite3.connect(home / "dmtools.db") as raw:
        found = raw.execute("SELECT name, role, site, token_key, revoked IS NULL FROM lta_token ORDER BY id").fetchall()
    return {row[0]: (row[1], row[2], row[3], bool(row[4])) for row in found}


def at_a_terminal(home: Path, answers: dict[bytes, bytes]) -> str:
    """Runs it on a terminal of its own, and types each answer when its question stands there."""
    ours, theirs = pty.openpty()
    said = b""

    def asked(question: bytes) -> bool:
        nonlocal said
        said += os.read(ours, 65536)
        return question in said

    argv = command("dm-config", "init", home, "--pipeline", "lta")
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment()) as process:
        os.close(theirs)
        for question, answer in answers.items():
            wait_until(lambda question=question: asked(question), 20, "it asks")  # type: ignore[misc]
            os.write(ours, answer + b"\n")
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:  # its side was closed
            pass
    os.close(ours)
    assert process.returncode == 0, said
    return " ".join(said.decode().split())


def test_a_terminal_is_asked_what_an_operator_must_decide_and_told_what_it_risks(tmp_path: Path) -> None:
    said = at_a_terminal(tmp_path / "a", {b"destination [": b"desy", b"copies [": b"2", b"free_local [": b"2"})
    assert "the tape has the only copy from then on" in said
    assert "outbound fills up" in said
    lta = load(home=tmp_path / "a").lta
    assert (lta.destination, lta.copies, lta.free_local) == ("desy", 2, "verified")
    assert rows(tmp_path / "a")["lta-desy"][:2] == ("worker", "desy"), "the token is that site's"


def test_the_first_tokens_are_secret_files_whose_hashes_are_in_the_table_and_again_changes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "a"
    found = run("dm-config", "init", home, "--pipeline", "lta", stdin="3\n", prefix=OPEN).ok()
    assert "copies [" not in found.out, "a script is never asked"
    assert 'lta.free_local = "never"\n' in (home / "dmtools.toml").read_text(), "it stands there to be read"
    files = {name: home / "secrets" / f"{name}.token" for name in TOKENS}
    assert {name: path.stat().st_mode & 0o777 for name, path in files.items()} == dict.fromkeys(TOKENS, 0o600)
    tokens = {name: path.read_text().strip() for name, path in files.items()}
    assert all(len(token) > 30 for token in tokens.values())
    assert len(set(tokens.values())) == 3
    assert not [token for token in tokens.values() if token in found.out + found.err]
    before = rows(home)
    hashes = {name: hashlib.sha256(token.encode()).digest() for name, token in tokens.items()}
    assert before == {name: (*TOKENS[name], hashes[name], True) for name in TOKENS}
    run("dm-config", "init", home).ok()
    assert rows(home) == before
    assert {name: path.read_text().strip() for name, path in files.items()} == tokens


def test_a_token_whose_hash_is_missing_gets_it_and_one_that_was_revoked_stays_so(home: Path) -> None:
    before = rows(home)
    with sqlite3.connect(home / "dmtools.db") as raw:
        raw.execute("DELETE FROM lta_token WHERE name = 'lta-nersc'")
        raw.execute("UPDATE lta_token SET revoked = '2026-01-01 00:00:00', live_key = NULL WHERE name = 'lta-operator'")
    run("dm-config", "init", home).ok()
    now = rows(home)
    assert now["lta-nersc"] == before["lta-nersc"], "as after a kill between the file and the row"
    assert not now["lta-operator"][3]
    assert len(now) == 3
