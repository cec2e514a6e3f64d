"""The description of lta-rest-server is whole, and schemathesis finds nothing that isn't as described."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools.lta.books.registry import FUNCTIONS
from dmtools.lta.wire import ROOT
from tests.lta.bookkeeping import add, direct, new, post
from tests.lta.rest import Asker, let_in
from tests.support import Server, environment


def test_every_ask_is_described_with_its_answers(home: Path, serve: Callable[..., Server]) -> None:
    ask = Asker(serve("lta-rest-server", "--port", 0, home=home).url)
    paths = ask("GET", f"{ROOT}/openapi.json").json["paths"]
    ask.close()
    for kind in FUNCTIONS:
        found = paths[ROOT + kind.PATH][kind.METHOD.lower()]
        assert found["operationId"] == kind.__name__
        assert found["summary"]
        assert {"200", "400", "401", "403", "404", "409", "429", "503"} <= found["responses"].keys()
        inside = [one["name"] for one in found.get("parameters", ()) if one["in"] == "path"]
        assert inside == re.findall(r"\{(\w+)\}", kind.PATH)
    names = [kind.__name__ for kind in FUNCTIONS]
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_schemathesis_finds_no_5xx_and_nothing_that_is_not_described(
    home: Path, serve: Callable[..., Server], short_tmp: Path
) -> None:
    books = direct(home)
    add(books, *(new(f"/{n}") for n in range(3)))
    post(books, 10_000)
    token = let_in(home, "admin", "admin")
    url = serve("lta-rest-server", "--port", 0, home=home).url
    program = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{url}{ROOT}/openapi.json", "--no-color"]
    # `positive_data_acceptance` is left out: an order may be well formed and yet make no sense, which is a 400, too.
    checks = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
    amount = ["--phases", "coverage,fuzzing", "--max-examples", "3", "--seed", "7", "--continue-on-failure"]
    asking = [*program, "--header", f"Authorization: Bearer {token}", *checks, *amount]
    done = subprocess.run(asking, cwd=short_tmp, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested
    assert int(tested[1]) >= len(FUNCTIONS)
    logged = "".join(path.read_text() for path in (home / "log").glob("lta-rest-server*"))
    assert "500" not in logged.replace("listening on", "")
