"""The producer: lists of 20, master lists of every shape, read on, never rewritten; nothing is moved twice."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

from tests.transfers.conftest import Scripted, scripted, template, warm  # noqa: F401 - fixtures

DONE = "migrate/TODO/ListOfLFNs/Done"


def master(site: Scripted, name: str, data: bytes) -> Path:
    path = site.home / "migrate/TODO/ListOfLFNs" / name
    path.write_bytes(data)
    return path


def sizes(site: Scripted) -> list[int]:
    """Files a list, in order."""
    texts = [(site.home / "migrate/TODO" / name).read_text() for name in site.names("TODO")]
    return [sum(not line.startswith("#") for line in text.splitlines()) for text in texts]


def test_one_list_of_20_a_pass_and_as_many_as_asked_for(scripted: Scripted) -> None:  # noqa: F811
    lfns = [f"/a/{n:02}" for n in range(67)]
    path = scripted.master(lfns)
    before = path.read_bytes(), path.stat().st_mtime_ns
    scripted.run("migrate-producer").ok()
    assert (sizes(scripted), scripted.lines("TODO")) == ([20], lfns[:20])
    assert scripted.tally() == {"TODO": 20, "Listed": 47}
    scripted.run("migrate-producer", "--lists", 2, "--lfns", 3).ok()
    assert sizes(scripted) == [20, 3, 3]
    said = scripted.run("migrate-producer", "--lists", 0, "--json").ok()
    assert said.json["counts"] == {"Listed>TODO": 41}
    assert sizes(scripted) == [20, 3, 3, 20, 20, 1]
    assert scripted.lines("TODO") == lfns
    assert scripted.tally() == {"TODO": 67}
    kept = scripted.home / DONE / "all.txt"
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == before
    assert not path.exists()
    stamps = [re.fullmatch(r"FTSList-(\d{8}T\d{6}\.\d{6}Z)-(.+)-(\d+)\.txt", name) for name in scripted.names("TODO")]
    assert all(stamps)
    said = scripted.run("migrate-producer", "--lists", 0, "--json").ok()
    assert (said.json["state"], said.err) == ("idle", "")


def test_comments_and_blanks_make_no_list_and_no_shorter_one(scripted: Scripted) -> None:  # noqa: F811
    lines = ["# head", *["#"] * 40, "", *[line for n in range(50) for line in (f"/a/{n:02}", "", "# why")], "   "]
    master(scripted, "all.txt", "\n".join(lines).encode())
    scripted.run("migrate-producer").ok()
    assert sizes(scripted) == [20]
    scripted.run("migrate-producer", "--lists", 0).ok()
    assert sizes(scripted) == [20, 20, 10]
    assert (scripted.home / DONE / "all.txt").exists()


def test_gzip_names_that_are_not_utf8_percent_signs_and_no_newline_at_the_end(scripted: Scripted) -> None:  # noqa: F811
    raw = [b"/a/\xff\xfe", b"/a/100%25", b"/a/%2e%2e", b"/a/b c", "/a/ü".encode(), b"/a/trailing ", b"/a/'\"$(x);&"]
    for name in raw:
        path = Path(os.fsdecode(os.fsencode(scripted.home / "demo/castor") + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
    master(scripted, "packed.gz", gzip.compress(b"\n".join(raw)))
    scripted.run("migrate-producer", "--lists", 0).ok()
    assert sizes(scripted) == [7]
    assert "/echo/a/100%2525\n" in (scripted.home / "migrate/TODO" / scripted.names("TODO")[0]).read_text()
    scripted.consume()
    scripted.fts.job().finish()
    scripted.monitor()
    assert scripted.states() == {"Okay": 7}
    root = os.fsencode(scripted.home / "demo/echo")
    for name in raw:
        with open(root + name, "rb") as copy:
            assert copy.read() == name


def test_appended_lines_and_the_same_name_again_longer(scripted: Scripted) -> None:  # noqa: F811
    path = master(scripted, "all.txt", b"/a/1\n/a/2\n/a/3\n")
    scripted.run("migrate-producer", "--lfns", 2).ok()
    with path.open("ab") as more:
        more.write(b"/a/4\n/a/5")
    scripted.run("migrate-producer", "--lists", 0).ok()
    assert scripted.lines("TODO") == [f"/a/{n}" for n in range(1, 6)]
    done = scripted.home / DONE / "all.txt"
    assert done.read_bytes() == b"/a/1\n/a/2\n/a/3\n/a/4\n/a/5"
    master(scripted, "all.txt", done.read_bytes() + b"\n/a/6\n")
    scripted.run("migrate-producer", "--lists", 0).ok()
    assert scripted.lines("TODO") == [f"/a/{n}" for n in range(1, 7)]
    assert done.read_bytes().endswith(b"/a/6\n")
    master(scripted, "all.txt", done.read_bytes())
    said = scripted.run("migrate-producer", "--lists", 0).ok()
    assert said.err == ""
    assert scripted.lines("TODO") == [f"/a/{n}" for n in range(1, 7)], "the same again has nothing new"
    assert scripted.tally() == {"TODO": 6}


def test_a_changed_list_is_refused_by_name_and_the_others_go_on(scripted: Scripted) -> None:  # noqa: F811
    path = master(scripted, "1.txt", b"/a/1\n/a/2\n/a/3\n")
    scripted.run("migrate-producer", "--lfns", 2).ok()
    cases = {"changed": b"/a/1\n/b/2\n/a/3\n/a/4\n", "shorter": b"/a/1\n", "goes on": b"/a/1\n/a/2"}
    for number, data in enumerate(cases.values()):
        path.write_bytes(data)
        master(scripted, f"2{number}.txt", b"/good/%d\n" % number)
        said = scripted.run("migrate-producer", "--lists", 0, "--json").gave(1)
        assert [(e["what"], e["subject"]) for e in said.json["errors"]] == [("master list refused", str(path))]
        assert f"/good/{number}" in scripted.lines("TODO")
        assert path.read_bytes() == data
    path.write_bytes(b"/a/1\n/a/2\n/a/3\n/a/4\n")
    scripted.run("migrate-producer", "--lists", 0).ok()
    assert [lfn for lfn in scripted.lines("TODO") if lfn.startswith("/a/")] == ["/a/1", "/a/2", "/a/3", "/a/4"]


def test_a_name_in_two_lists_or_twice_in_one_is_told_and_moved_once(scripted: Scripted) -> None:  # noqa: F811
    scripted.files("/a/1", "/a/2", "/a/3")
    master(scripted, "1.txt", b"/a/1\n/a/2\n/a/1\n")
    scripted.run("migrate-producer", "--lists", 0).ok()
    said = scripted.run("migrate-consumer", "--lists", 0, "--json").ok()
    assert [(e["what"], e["subject"]) for e in said.json["errors"]] == [("not moved twice", "/a/1")]
    master(scripted, "2.txt", b"/a/2\n/a/3\n")
    scripted.run("migrate-producer", "--lists", 0).ok()
    said = scripted.run("migrate-consumer", "--lists", 0, "--json").ok()
    assert [(e["what"], e["subject"]) for e in said.json["errors"]] == [("not moved twice", "/a/2")]
    assert [job.paths for job in scripted.fts.jobs.values()] == [["1", "2"], ["3"]]
    for job in scripted.fts.jobs.values():
        job.finish()
    scripted.monitor()
    master(scripted, "3.txt", b"/a/3\n")
    scripted.run("migrate-producer", "--lists", 0).ok()
    said = scripted.run("migrate-consumer", "--lists", 0, "--json").ok()
    assert "at the destination already" in said.json["errors"][0]["why"]
    assert (scripted.names("TODO"), scripted.names("DOING")) == ([], [])
    assert scripted.lines("DONE/Okay") == ["/a/1", "/a/2", "/a/3"]
    assert scripted.tally() == {"Okay": 3}
    assert len(scripted.fts.jobs) == 2


def test_the_longest_rule_wins_one_rule_a_list_and_no_rule_is_bad(scripted: Scripted) -> None:  # noqa: F811
    root = scripted.home / "demo"
    made = "".join(
        f'[[migrate.rules]]\nmatch = "{match}"\nsource = "file://{root}/castor{match}"\ndestination = "file://{root}/echo/{place}"\n'
        for match, place in (("/lhcb", "general"), ("/lhcb/110", "r110"))
    )
    scripted.configure(made)
    lfns = ["/lhcb/110/x", "/lhcb/1109/x", "/lhcb/110/y", "/other/z"]
    scripted.files(*lfns[:3])
    scripted.master(lfns)
    said = scripted.run("migrate-producer", "--lists", 0, "--json").gave(1)
    assert said.json["counts"]["Listed>Bad"] >= 1
    assert "no rule of [migrate] rules matches /other/z" in said.err
    scripted.run("migrate-consumer", "--lists", 0).gave(0, 1)
    found = sorted(file.destination.partition("/echo/")[2] for job in scripted.fts.jobs.values() for file in job.files)
    assert found == ["general/1109/x", "r110/x", "r110/y"]
    for job in scripted.fts.jobs.values():
        assert len({file.destination.partition("/echo/")[2].partition("/")[0] for file in job.files}) == 1
    assert scripted.state("/other/z")[:2] == ("Bad", "invalid")


def test_what_is_not_at_the_source_goes_to_missing_before_any_submit(scripted: Scripted) -> None:  # noqa: F811
    scripted.files("/a/1")
    scripted.master(["/a/1", "/a/gone"])
    scripted.produce()
    said = scripted.run("migrate-consumer", "--json").gave(0, 1)
    assert said.json["counts"] == {"TODO>DOING": 1, "TODO>Missing": 1}
    assert (scripted.lines("DONE/Missing"), scripted.lines("DOING")) == (["/a/gone"], ["/a/1"])
    assert scripted.fts.job().paths == ["1"]
    (name,) = scripted.names("DONE/Missing")
    text = (scripted.home / "migrate/DONE/Missing" / name).read_text().splitlines()
    assert text[-2].startswith("# missing: ")
    scripted.files("/a/gone")
    scripted.fts.job().finish()
    scripted.monitor()
    (scripted.home / "migrate/DONE/Missing" / name).rename(scripted.home / "migrate/TODO" / name)
    scripted.again().finish()
    scripted.monitor()
    assert scripted.tally() == {"Okay": 2}


def test_without_check_source_fts_says_what_is_missing(scripted: Scripted) -> None:  # noqa: F811
    scripted.configure("check_source = false\n")
    scripted.master(["/a/gone"])
    scripted.produce()
    scripted.consume()
    scripted.fts.job().fail("SOURCE [2] No such file or directory")
    scripted.monitor()
    assert scripted.state("/a/gone")[:2] == ("Bad", "missing")
