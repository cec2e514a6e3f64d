"""Signing in and out, and what happens to those who guess, forge and come too late."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import requests

from tests.support import Server, free_port, run, wait_until
from tests.web.conftest import PASSWORD, Person, add_user, kept_bytes


def test_in_and_out(web: Server, home: Path) -> None:
    person = Person(web.url)
    assert person.get("/").url == f"{web.url}/sign-in"
    assert person.get("/fragment").status_code == 401
    assert person.get("/api/status.json").json() == {"schema": 1, "error": "sign in first"}
    answer = person.sign_in("Anna", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie  # plain http on this machine
    token = re.search(r"=([^;]+);", cookie)
    assert token
    assert token[1].encode() not in kept_bytes(home)
    page = person.get("/")
    assert "anna, shifter" in page.text
    stolen = dict(person.browser.cookies)
    assert person.post("/sign-out", {"mark": person.mark()}).url == f"{web.url}/sign-in"
    assert not person.is_signed_in()
    assert requests.get(f"{web.url}/fragment", cookies=stolen, timeout=30).status_code == 401


def test_a_wrong_name_and_a_wrong_password_are_answered_alike_and_not_for_ever(web: Server) -> None:
    person = Person(web.url)
    for name in ("", "ä\u202e", "\0", "a" * 5000, "' OR 1=1 --"):
        assert person.sign_in(name, "x").status_code == 401
    unknown, wrong = person.sign_in("nobody", "x"), person.sign_in("anna", "x")
    hidden = re.compile(r'value="[^"]*"')
    assert unknown.status_code == wrong.status_code == 401
    assert hidden.sub("", unknown.text) == hidden.sub("", wrong.text)
    assert "Name or password is wrong" in wrong.text
    for _ in range(4):
        person.sign_in("anna", "y")
        person.sign_in("nobody", "y")
    late, late_too = person.sign_in("anna", PASSWORD), person.sign_in("nobody", PASSWORD)
    assert late.status_code == late_too.status_code == 429
    assert int(late.headers["Retry-After"]) > 60
    assert not person.is_signed_in()


def test_forms_from_elsewhere_are_refused(anna: Person, web: Server, home: Path) -> None:
    halt = {"word": "halt", "scope": "all", "reason": "forged"}
    assert anna.post("/control", halt).status_code == 403
    assert anna.post("/control", {**halt, "mark": "0" * 64}).status_code == 403
    assert anna.post("/control", {**halt, "mark": Person(web.url).mark("/sign-in")}).status_code == 403
    assert anna.post("/sign-out", {}).status_code == 403
    assert anna.browser.post(f"{web.url}/control", json={**halt, "mark": anna.mark()}, timeout=30).status_code == 403
    stranger = Person(web.url)
    assert stranger.post("/control", {**halt, "mark": anna.mark()}).status_code == 401
    assert stranger.post("/sign-in", {"name": "anna", "password": PASSWORD}).status_code == 403
    assert anna.is_signed_in()
    assert run("dm-command", "--json", home=home).ok().json["holds"] == []


def test_a_session_ends_with_the_password_the_account_and_its_time(anna: Person, home: Path) -> None:
    run("dm-web", "user", "password", "anna", home=home, stdin="quite another one\n").ok()
    wait_until(lambda: not anna.is_signed_in(), 60, "the session ends with the password")
    assert anna.sign_in("anna").status_code == 401
    assert anna.sign_in("anna", "quite another one").status_code == 200
    with sqlite3.connect(home / "dmtools.db") as raw:
        raw.execute("UPDATE web_session SET expires = '2020-01-01 00:00:00.000000'")
    wait_until(lambda: not anna.is_signed_in(), 60, "the session ends with its time")
    assert anna.sign_in("anna", "quite another one").status_code == 200
    run("dm-web", "user", "remove", "anna", home=home).ok()
    wait_until(lambda: not anna.is_signed_in(), 60, "the session ends with the account")


def test_a_restart_keeps_who_is_signed_in(home: Path, serve: Callable[..., Server]) -> None:
    add_user(home, "anna", "viewer")
    port = free_port()
    web = serve("dm-web", "--port", port, home=home)
    anna = Person(web.url)
    assert anna.sign_in("anna").status_code == 200
    assert web.stop() == 143
    assert serve("dm-web", "--port", port, home=home).url == web.url
    assert anna.is_signed_in()


def test_behind_a_proxy_the_cookies_are_for_https_alone(home: Path, serve: Callable[..., Server]) -> None:
    add_user(home, "anna", "viewer")
    server = serve("dm-web", "--port", 0, "--host", "0.0.0.0", "--behind-proxy", home=home)
    url = server.url.replace("0.0.0.0", "127.0.0.1")
    form = requests.get(f"{url}/sign-in", timeout=30)
    assert "__Host-" in form.headers["Set-Cookie"]
    assert "Secure" in form.headers["Set-Cookie"]
    mark = re.search(r'name="mark" value="([^"]*)"', form.text)
    assert mark
    given = {"mark": mark[1], "name": "anna", "password": PASSWORD, "next": "//elsewhere.example/"}
    sent = {"Cookie": form.headers["Set-Cookie"].partition(";")[0], "X-Forwarded-For": "6.6.6.6, 192.0.2.7"}
    answer = requests.post(f"{url}/sign-in", data=given, headers=sent, allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "Secure" in answer.headers["Set-Cookie"]
    log = "".join(path.read_text() for path in (home / "log").glob("dm-web-*.log"))
    assert "signed in: anna from 192.0.2.7" in log
    assert PASSWORD not in log
