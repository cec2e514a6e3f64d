"""Accounts are made at the terminal; their passwords stay there."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

from tests.support import command, environment, run
from tests.web.conftest import PASSWORD, add_user, kept_bytes


def test_a_new_home_has_no_account(home: Path) -> None:
    assert run("dm-web", "user", "list", "--json", home=home).ok().json == {"schema": 1, "users": []}


def test_the_life_of_an_account(home: Path) -> None:
    add_user(home, "Anna", "viewer")
    assert "there is a user anna already" in run("dm-web", "user", "add", "anna", "--role", "viewer", home=home).gave(2).err
    run("dm-web", "user", "role", "anna", "--role", "operator", home=home).ok()
    run("dm-web", "user", "password", "anna", home=home, stdin="another long one\n").ok()
    (account,) = run("dm-web", "user", "list", "--json", home=home).ok().json["users"]
    assert (account["name"], account["role"], account["sessions"]) == ("anna", "operator", 0)
    assert account["changed"] > account["created"]
    kept = kept_bytes(home)
    assert b"$argon2id$" in kept
    assert PASSWORD.encode() not in kept
    assert "would" not in run("dm-web", "user", "remove", "anna", "--dry-run", home=home).ok().err
    run("dm-web", "user", "remove", "anna", home=home).ok()
    assert "there is no user yet" in run("dm-web", "user", "list", home=home).ok().out


def test_wrong_words_are_told_and_change_nothing(home: Path) -> None:
    add_user(home, "anna", "viewer")
    for words, said in (
        (("user", "ad", "x"), "user add NAME --role ROLE"),
        (("user", "add", "x"), "needs --role, one of viewer, shifter, operator"),
        (("user", "list", "--role", "viewer"), "takes no --role"),
        (("user", "add", "<b>", "--role", "viewer"), "no name of a user"),
        (("user", "remove", "ana"), "did you mean anna?"),
        (("user", "password", "zoe"), "there are: anna"),
        (("user", "add", "zoe", "--role", "king"), "Invalid value"),
        (("usr",), "does not know 'usr'"),
        (("serve", "--role", "viewer"), "belong to dm-web user"),
    ):
        assert said in run("dm-web", *words, home=home).gave(2).err
    refused = run("dm-web", "user", "add", "zoe", "--role", "viewer", home=home, stdin="\n").gave(2)
    assert "stdin's first line is empty" in refused.err
    assert "fewer than 10" in run("dm-web", "user", "add", "zoe", "--role", "viewer", home=home, stdin="short\n").ok().err
    assert len(run("dm-web", "user", "list", "--json", home=home).ok().json["users"]) == 2


def test_at_a_terminal_the_password_is_asked_twice_and_not_shown(home: Path) -> None:
    ours, theirs = pty.openpty()
    argv = command("dm-web", "user", "add", "anna", "--role", "viewer")
    with subprocess.Popen(
        argv, env=environment(home), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        asked = 0
        try:
            while part := os.read(ours, 4096):
                shown += part
                while shown.count(b": ") > asked and asked < 2:
                    asked += 1
                    os.write(ours, PASSWORD.encode() + b"\n")
        except OSError:
            pass  # the other end is closed
    os.close(ours)
    assert process.returncode == 0, shown
    assert b"Password of anna" in shown
    assert b"The same again" in shown
    assert PASSWORD.encode() not in shown
