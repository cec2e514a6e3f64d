"""Lists and names that can't be used: each harms itself alone, is told once, and the good ones arrive."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools.names import encode
from tests.migrate.steps import Site
from tests.migrate.told import holds, one_problem, problems
from tests.support import Result, Server

BINARY = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 4


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Site:
    """One server, and two good files of which nothing is known yet."""
    made = Site(home, serve)
    made.only()
    made.start()
    made.files("/good/1", "/good/2")
    return made


def line(site: Site, lfn: str) -> str:
    """The line of a list file."""
    name = encode(lfn.encode())
    return f"file://{site.home}/demo/castor{name}  file://{site.home}/demo/echo{name}\n"


def by_hand(site: Site, name: str, text: str | bytes) -> Path:
    """A list file that somebody puts into TODO."""
    path = site.home / "migrate/TODO" / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def good_master(site: Site) -> None:
    """The good files in a master list whose name sorts behind all others'."""
    site.master(["/good/1", "/good/2"], "zz-good.txt")


def consume(site: Site) -> Result:
    return site.run("migrate-consumer", "--lists", 0, "--json")


def produce(site: Site) -> Result:
    return site.run("migrate-producer", "--lists", 0, "--json")


def the_good_arrive(site: Site, *others: str) -> None:
    """Plain passes bring the good files to their place, once each."""
    site.settle()
    wanted = sorted(["/good/1", "/good/2", *others])
    assert site.lines("DONE/Okay") == sorted(encode(lfn.encode()) for lfn in wanted)
    assert sorted(site.copies()) == sorted(f"file://{site.home}/demo/echo{encode(lfn.encode())}" for lfn in wanted)
    for lfn in wanted:
        assert site.target(lfn).read_bytes() == site.source(lfn).read_bytes()
    assert (site.names("TODO"), site.names("DOING")) == ([], [])


# ---- list files in TODO


def test_a_broken_line_in_a_list(site: Site) -> None:
    bad = {
        "what is this\n": "a line is SOURCE-URL, two blanks, DESTINATION-URL",
        f"file://{site.home}/demo/castor/one file://{site.home}/demo/echo/blank\n": "two blanks",
        f"/good/1  file://{site.home}/demo/echo/x\n": "is no percent-encoded URL",
        f"file://{site.home}/demo/castor/ünï  file://{site.home}/demo/echo/ünï\n": "is no percent-encoded URL",
        "root:///castor/a  file:///tmp/a\n": "names no host",
    }
    by_hand(site, "hand.txt", line(site, "/good/1") + "".join(bad) + "# a comment\n\n" + line(site, "/good/2"))
    told = problems(consume(site), 1, "partial")
    assert len(told) == len(bad)
    for one, why in zip(told, bad.values(), strict=True):
        holds(one, what="bad line", why=why, left=("DONE/Bad/hand.txt", "the other files go on"), next="move that file to TODO")
    the_good_arrive(site)
    assert site.tally() == {"Okay": 2, "Bad": len(bad)}
    text = (site.home / "migrate/DONE/Bad/hand.txt").read_text()
    for why in bad.values():
        assert why in text


def test_a_mended_line_arrives(site: Site) -> None:
    """DONE/Bad keeps it as a comment: mended there, its file can be moved to TODO."""
    by_hand(site, "hand.txt", line(site, "/good/1") + line(site, "/good/2").replace("  ", " "))
    consume(site).gave(1)
    site.settle()
    kept = site.home / "migrate/DONE/Bad/hand.txt"
    assert "# ! file://" in kept.read_text()
    kept.write_text(kept.read_text().replace("# ! ", "").replace("%20file://", "  file://"))
    kept.rename(site.home / "migrate/TODO/hand.txt")
    the_good_arrive(site)


def test_a_directory_in_place_of_a_list(site: Site) -> None:
    (site.home / "migrate/TODO/FTSList-dir.txt").mkdir()
    (site.home / "migrate/TODO/FTSList-dir.txt/inside.txt").write_text(line(site, "/good/1"))
    good_master(site)
    produce(site).ok()
    aside = site.home / "run/set-aside/TODO-FTSList-dir.txt"
    one_problem(
        consume(site),
        *(1, "partial"),
        what="no list file",
        subject="TODO/FTSList-dir.txt",
        why="is a directory",
        left=(str(aside), "the other lists go on"),
        next="a good list file may be moved to TODO",
    )
    assert (aside / "inside.txt").read_text() == line(site, "/good/1")
    the_good_arrive(site)
    assert consume(site).ok().json["state"] == "idle"


def test_a_binary_file_in_place_of_a_list(site: Site) -> None:
    by_hand(site, "photo.png", BINARY)
    by_hand(site, "list.gz", gzip.compress(line(site, "/good/1").encode() * 100))
    good_master(site)
    produce(site).ok()
    first, second = problems(consume(site), 1, "partial")
    holds(first, what="no list file", subject="TODO/list.gz", why="binary file", left="the other lists go on")
    holds(second, what="no list file", subject="TODO/photo.png", why="binary file", left="the other lists go on")
    assert (site.home / "run/set-aside/TODO-photo.png").read_bytes() == BINARY
    the_good_arrive(site)


def test_lists_with_names_that_no_list_may_have(site: Site) -> None:
    by_hand(site, "a list.txt", line(site, "/good/1"))
    by_hand(site, "a\nlist.txt", line(site, "/good/2"))
    for one, name in zip(problems(consume(site), 1, "partial"), ("a list.txt", "a list.txt"), strict=True):
        holds(one, what="no list file", subject=f"TODO/{name}", why="printable ASCII without blanks", left="run/set-aside")
    for path in (site.home / "run/set-aside").iterdir():
        path.rename(site.home / "migrate/TODO" / f"better-{'n' if chr(10) in path.name else 'b'}.txt")
    the_good_arrive(site)


def test_an_empty_list(site: Site) -> None:
    by_hand(site, "empty.txt", b"")
    good_master(site)
    produce(site).ok()
    consume(site).ok()
    the_good_arrive(site)


def test_a_newline_escape_in_a_list(site: Site) -> None:
    by_hand(site, "hand.txt", line(site, "/good/1") + line(site, "/two\nlines") + line(site, "/good/2"))
    one_problem(consume(site), 1, "partial", what="bad line", why=("control character", "two%0Alines"), left="DONE/Bad/hand.txt")
    the_good_arrive(site)
    assert site.tally() == {"Okay": 2, "Bad": 1}


def test_a_way_out_of_the_root_in_a_list(site: Site) -> None:
    (site.home / "out").write_text("secret")
    root = f"file://{site.home}/demo"
    ways = ("/../../out", "/a/%2E%2E/%2e%2e/%2E./out", "/a/.%2e/../../out", "/..")
    bad = [f"{root}/castor{way}  {root}/echo/x{n}\n" for n, way in enumerate(ways)]
    bad += [f"{root}/castor/good/2  {root}/echo{way}\n" for way in ways]
    by_hand(site, "hand.txt", line(site, "/good/1") + "".join(bad))
    by_hand(site, "more.txt", line(site, "/good/2"))
    told = problems(consume(site), 1, "partial")
    assert len(told) == len(bad)
    for one in told:
        holds(one, what="bad line", why="holds '..', which could lead out of its root", left="DONE/Bad/hand.txt")
    the_good_arrive(site)
    assert site.tally() == {"Okay": 2, "Bad": len(bad)}


def test_a_scheme_that_nobody_knows(site: Site) -> None:
    """Only the FTS server can say that it has no plugin for a scheme: that file is Bad, its neighbours arrive."""
    strange = f"gopher://old.example/castor/x  file://{site.home}/demo/echo/x\n"
    by_hand(site, "hand.txt", line(site, "/good/1") + strange + line(site, "/good/2"))
    consume(site).ok()
    the_good_arrive(site)
    (row,) = site.sql("SELECT state, error_class, tries, reason FROM transfer WHERE source LIKE 'gopher%'")
    assert row[:3] == ("Bad", "invalid", 1)
    assert "Protocol not supported" in row[3]
    assert strange in (site.home / "migrate/DONE/Bad" / site.names("DONE/Bad")[0]).read_text()


# ---- master lists


def test_a_directory_in_place_of_a_master_list(site: Site) -> None:
    (site.home / "migrate/TODO/ListOfLFNs/2026").mkdir()
    good_master(site)
    for _ in range(2):
        one_problem(
            produce(site),
            *(1, "partial"),
            what="master list refused",
            subject="ListOfLFNs/2026",
            why="is a directory",
            left="the other lists go on",
            next="put it right, or move it away",
        )
    the_good_arrive(site)


def test_a_binary_file_in_place_of_a_master_list(site: Site) -> None:
    folder = site.home / "migrate/TODO/ListOfLFNs"
    (folder / "photo.png").write_bytes(BINARY)
    (folder / "half.gz").write_bytes(gzip.compress(b"/good/1\n" * 5000)[:40])
    (folder / "long.txt").write_bytes(b"/x" * 70000)
    good_master(site)
    half, long, photo = problems(produce(site), 1, "partial")
    holds(half, what="master list refused", subject=f"{folder}/half.gz", why="damaged or unfinished gzip", left="no line of it")
    holds(long, what="master list refused", subject=f"{folder}/long.txt", why="a line of more than 65536 bytes")
    holds(photo, what="master list refused", subject=f"{folder}/photo.png", why="is a binary file", left="the other lists go on")
    assert (folder / "photo.png").read_bytes() == BINARY
    the_good_arrive(site)
    (folder / "half.gz").write_bytes(gzip.compress(b"/good/1\n/good/2\n"))
    (folder / "long.txt").unlink()
    (folder / "photo.png").unlink()
    produce(site).ok()
    the_good_arrive(site)


def test_a_newline_escape_in_a_master_list_is_a_name(site: Site) -> None:
    site.files("/two%0Alines", "/100%", "/a%20b")
    site.master(["/two%0Alines", "/good/1", "/100%", "/good/2", "/a%20b"])
    produce(site).ok()
    the_good_arrive(site, "/two%0Alines", "/100%", "/a%20b")
    assert "two%250Alines" in "".join(path.read_text() for path in (site.home / "migrate/DONE/Okay").iterdir())


def test_lines_of_a_master_list_that_name_no_file(site: Site) -> None:
    (site.home / "out").write_text("secret")
    site.files("/a..b/...", "/#no comment")
    bad = {
        b"/../../out": "holds '..', which could lead out of its root",
        b"/..": "holds '..'",
        b"good/1": "is not absolute",
        b"/win\r": "Windows line ends",
        b"/bell\a": "holds a control character",
        b"/dir/": "names a directory",
        b"/": "names a directory",
    }
    lines = [b"/good/1", *bad, b"/a..b/...", b"# /good/1", b"", b"/#no comment", b"/good/2"]
    (site.home / "migrate/TODO/ListOfLFNs/all.txt").write_bytes(b"\n".join(lines))
    told = problems(produce(site), 1, "partial")
    assert len(told) == len(bad)
    for one, (text, why) in zip(told, bad.items(), strict=True):
        shown = encode(text) if not text.isascii() or b"\r" in text or b"\a" in text else text.decode()
        holds(one, what="bad line in a master list", subject=("all.txt at byte ", shown), why=why)
        holds(one, left="the other lines go on", next="append the corrected name")
    assert site.tally() == {"TODO": 4, "Bad": len(bad)}
    the_good_arrive(site, "/a..b/...", "/#no comment")
    kept = "".join((site.home / "migrate/DONE/Bad" / name).read_text() for name in site.names("DONE/Bad"))
    assert [text for text in bad if encode(text) not in kept] == []


def test_a_file_that_is_no_list_does_not_drown_the_rest(site: Site) -> None:
    """Bad lines in a late list are told, too; of very many the first ones, and how many there are."""
    lines = [f"/good/{n}" for n in range(1, 700)] + ["broken"]
    site.files(*lines[2:-1])
    site.master(lines, "late.txt")
    one_problem(produce(site), 1, "partial", what="bad line in a master list", subject="broken", why="is not absolute")
    site.run("migrate-cancel", "--all", "--todo").ok()
    site.master([f"no list {n}" for n in range(500)] + ["/x"], "prose.txt")
    told = problems(produce(site), 1, "partial")
    assert len(told) == 21
    holds(told[-1], what="more bad lines in a master list", subject="prose.txt", why="480 more lines", left="DONE/Bad")
    assert site.tally() == {"Bad": 699 + 1 + 500, "TODO": 1}


def test_an_unreadable_source_is_told_and_the_others_arrive(site: Site) -> None:
    """A directory, a dangling link and a pipe where a file should be."""
    site.source("/odd/dir").mkdir(parents=True)
    site.source("/odd/link").symlink_to("/nowhere/at/all")
    os.mkfifo(site.source("/odd/pipe"))
    site.master(["/good/1", "/odd/dir", "/odd/link", "/odd/pipe", "/good/2"])
    produce(site).ok()
    the_good_arrive(site)
    states = {lfn: site.state(lfn)[0] for lfn in ("/odd/dir", "/odd/link", "/odd/pipe")}
    assert set(states.values()) <= {"Bad", "Missing"}, states
