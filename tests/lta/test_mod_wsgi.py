"""`dmtools.lta.wsgi:application` under a real Apache with mod_wsgi, in a process of its own, over the same tables."""

from __future__ import annotations

import os
import pwd
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmtools.lta.api import answer
from dmtools.lta.api.sites import Figures, Status
from dmtools.lta.wire import ROOT
from tests.lta.bookkeeping import add, direct, new, take
from tests.lta.rest import Asker, books_at, let_in
from tests.support import free_port, wait_until

ROOM = Path(__file__).resolve().parents[2]
CONFIG = """
ServerRoot "{place}"
PidFile "{place}/pid"
Listen 127.0.0.1:{port}
ServerName localhost
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule env_module {modules}/mod_env.so
LoadModule wsgi_module {modules}/mod_wsgi.so
ErrorLog "{place}/error.log"
WSGISocketPrefix "{place}/wsgi"
WSGIDaemonProcess lta processes=2 threads=4 home={place} python-path={paths}
WSGIProcessGroup lta
WSGIApplicationGroup %{{GLOBAL}}
WSGIPassAuthorization On
WSGIScriptAlias / "{place}/lta.wsgi"
SetEnv DMTOOLS_HOME "{home}"
<Location />
    Require all granted
</Location>
"""


@pytest.fixture
def apache(home: Path, short_tmp: Path) -> Iterator[str]:
    """The URL of an Apache that serves the HOME's tables."""
    place, port = short_tmp / "apache", free_port()
    place.mkdir()
    (place / "lta.wsgi").write_text("from dmtools.lta.wsgi import application\n")
    paths = f"{ROOM}:{sysconfig.get_path('purelib')}"
    config = CONFIG.format(place=place, port=port, modules="/usr/lib/apache2/modules", paths=paths, home=home)
    (place / "apache.conf").write_text(config)
    # mod_wsgi won't run as root: in a user namespace we are another one, to whom root's files belong.
    user = pwd.getpwnam("www-data")
    other = ["unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"] if os.geteuid() == 0 else []
    with (place / "said").open("wb") as said:
        starting = [*other, "/usr/sbin/apache2", "-D", "FOREGROUND", "-f", str(place / "apache.conf")]
        # Python of Apache looks for its library by PATH: a system's own start has none of ours in it.
        process = subprocess.Popen(starting, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, stdout=said, stderr=said)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(url) or process.poll() is not None, 60, "Apache answers")
        assert process.poll() is None, "".join((place / one).read_text() for one in ("said", "error.log"))
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return Asker(url)("GET", "/healthz").body == b"ok\n"
    except OSError:
        return False


@pytest.mark.needs("apache")
def test_apache_with_mod_wsgi_serves_the_books(home: Path, apache: str) -> None:
    token = let_in(home, "local", "worker", "local")
    ask = Asker(apache)
    assert ask("GET", f"{ROOT}/bundles").status == 401
    assert ask("GET", f"{ROOT}/bundles?limit=1", token=token).json == {"bundles": [], "next": None}
    assert "content-security-policy" in ask("GET", f"{ROOT}/openapi.json").headers
    assert ask("POST", f"{ROOT}/bundles", b"{" + b" " * 20_000_000, token=token).status == 413
    ask.close()
    books = books_at(apache, token)
    added = add(books, *(new(f"/{n}") for n in range(4)))
    assert {one.id for one in take(books, "Untouched", most=4)} == {one.id for one in added}
    assert answer(direct(home), Status(), Figures) == answer(books, Status(), Figures)
