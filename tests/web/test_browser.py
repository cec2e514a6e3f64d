"""The status page in a real Chromium: what a shifter does at night, on a desk and on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.support import Server, run, wait_until
from tests.web.browser import Browser
from tests.web.conftest import PASSWORD
from tests.web.test_status_page import EVIL, put_files

pytestmark = [pytest.mark.needs("browser"), pytest.mark.slow]


def test_a_shifter_signs_in_halts_searches_and_traces(web: Server, home: Path) -> None:
    put_files(home, b"/a/1.raw", b"/a/2.raw", b"/a/" + EVIL.replace("/", "|").encode())
    with Browser(1280, 900) as one:
        one.go(web.url)
        one.sign_in("anna", PASSWORD)
        one.wait("#verdict")
        assert "3" in one.text("#pipeline-migrate .flow")
        one.order("halt", "migrate", f"Echo is down {EVIL}", "+6h")
        assert "halt of migrate by web:anna" in one.text("#told")
        assert EVIL in one.text(".holds")
        assert run("migrate-consumer", "--json", home=home).ok().json["state"] == "halted"
        run("dm-command", "run", home=home).ok()  # elsewhere; the page shows it by itself
        one.until(lambda: "Holds in force" not in one.text("#live"), "the hold goes away without a reload")
        one.search("/a/")
        assert one.text(".matches").count("/a/") == 3
        one.press(".matches a[href='/trace/a/1.raw']")
        assert one.text("h1") == "/a/1.raw"
        assert "it waits in the list" in one.text(".why")
        assert one.complaints() == []


def test_a_phone_shows_one_column_and_every_button(web: Server) -> None:
    with Browser(390, 844, phone=True) as one:
        one.go(web.url)
        one.sign_in("anna", PASSWORD)
        one.wait("#verdict")
        assert one.driver.execute_script("return document.documentElement.scrollWidth") <= 390
        one.wait(".jump").click()
        for word in ("halt", "drain", "run"):
            place = one.wait(f"button[value='{word}']").rect
            assert place["x"] >= 0
            assert place["x"] + place["width"] <= 390
            assert place["height"] >= 36
        one.order("drain", "all", "from the train")
        assert "drain of all by web:anna" in one.text("#told")


def test_without_scripts_it_reads_and_orders_all_the_same(web: Server, home: Path) -> None:
    with Browser(1000, 800, scripts=False) as one:
        one.go(web.url)
        one.sign_in("anna", PASSWORD)
        assert "migrate" in one.text("#live")
        one.order("halt", "all", "no script")
        assert "halt of all by web:anna" in one.text("#told")
        assert run("dm-command", "--json", home=home).ok().json["state"] == "halt"


def test_the_page_says_that_its_data_are_old(web: Server, home: Path, serve: Callable[..., Server]) -> None:
    with Browser(1000, 800) as one:
        one.go(web.url)
        one.sign_in("anna", PASSWORD)
        one.wait("#pipeline-migrate")
        (home / "dmtools.db").rename(home / "aside.db")
        one.until(lambda: "the database can't be read" in one.text("#asof"), "the age of the data is told")
        (home / "aside.db").rename(home / "dmtools.db")
        one.until(lambda: one.text("#asof").startswith("as of"), "the data are new again")
        web.stop()
        one.until(lambda: "does not answer" in one.text("#asof"), "the server's end is told")
        assert re.match(r"These data are \d+ s old", one.text("#asof"))
        assert "migrate" in one.text("#live")


def test_a_session_that_ended_leads_to_the_sign_in(web: Server, home: Path) -> None:
    with Browser(1000, 800) as one:
        one.go(web.url)
        one.sign_in("anna", PASSWORD)
        one.wait("#pipeline-migrate")
        run("dm-web", "user", "password", "anna", home=home, stdin="another long one\n").ok()
        one.until(lambda: one.driver.current_url.endswith("/sign-in"), "the sign-in page comes by itself")
    wait_until(lambda: requests.get(f"{web.url}/healthz", timeout=30).text == "ok\n", 60, "ok")
