"""The status page on MariaDB: the same journey, and a server that hangs instead of answering."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

from tests.real_components import MariaDb
from tests.support import Server, run, wait_until
from tests.web.conftest import Person, add_user


def test_a_journey_on_mariadb_and_a_server_that_hangs(home: Path, mariadb_server: MariaDb, serve: Callable[..., Server]) -> None:
    with (home / "dmtools.toml").open("a") as settings:
        settings.write(f'\n[database]\nurl = "{mariadb_server.url}"\n')
    run("dm-db", "upgrade", home=home).ok()
    add_user(home, "anna", "shifter")
    person = Person(serve("dm-web", "--port", 0, home=home).url)
    assert person.sign_in("än\u202ena", "x").status_code == 401
    assert person.sign_in("anna").status_code == 200
    assert "halt of migrate by web:anna" in person.order("halt", "migrate", "Ä \U0001f600 'quoted' <b>").text
    (hold,) = run("dm-command", "--json", home=home).ok().json["holds"]
    assert (hold["by"], hold["reason"]) == ("web:anna", "Ä \U0001f600 'quoted' <b>")
    assert person.get("/search?q=%C3%A4%FF").status_code == 200
    process = mariadb_server.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: person.get("/healthz").text == "degraded\n", 60, "degraded")
        page = person.get("/")
        assert re.search(r"These data are \d+ s old: the database can&#x27;t be read: ", page.text)
        assert person.order("run", "migrate").status_code == 503
    finally:
        process.send_signal(signal.SIGCONT)
    wait_until(lambda: person.get("/healthz").text == "ok\n", 150, "ok again")
    assert "ended: halt" in person.order("run", "migrate").text
