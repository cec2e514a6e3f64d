"""daq-archive from the zip at the site to the tape: copies that fail, what the tape says, what is removed and when."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.daq import choosing
from dmtools.names import encode
from dmtools.settings import parse
from tests.daq.archive_steps import DAY, Archive
from tests.support import Server

A, B, C = (f"{DAY}{name}_20250131T010101.dat" for name in "abc")


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Archive:
    made = Archive(home, serve)
    made.only()
    made.start()
    return made


def status(site: Archive, lfn: str, said: str) -> None:
    """What the tape says of a zip."""
    os.setxattr(site.on_tape(lfn), "user.status", said.encode())


def to_tape(site: Archive) -> None:
    """Passes until every copy has ended; its outcome is not booked yet."""
    site.zipped()
    site.over()


def test_from_the_site_to_proved_zips_on_tape(site: Archive) -> None:
    plain = [
        encode(DAY.encode() + name + b"_20250131T010101.dat")
        for name in (b"a b", b"q'\"&;,+", b"error", b"\xff\xfe", b"100%", b"a\nb\t\x7f")
    ]
    site.at_site(*plain)
    (gone,) = site.at_site(A, freed=True)
    (empty,) = site.at_site(B, data=b"")
    site.settle()
    assert site.files() == {"OnTape": len(plain) + 1, "Freed": 1}
    for lfn in [*plain, gone, empty]:
        assert site.unzipped(lfn) == site.copy(lfn).read_bytes(), lfn
        row = site.zip_row(lfn)
        assert (row["state"], row["attempt"], row["zip_size"]) == ("Cleaned", 1, site.on_tape(lfn).stat().st_size)
    assert site.zips() == []
    assert site.jobs() == []
    assert len(site.copies()) == len(plain) + 2, "each zip once"
    assert site.archive(codes=(0,)).json["state"] == "idle"


def test_a_name_that_no_transfer_may_carry_is_bad_before_it_is_zipped(site: Archive) -> None:
    long = encode(DAY.encode() + b"\xff" * 200 + b"/" + b"\xfe" * 200 + b"_20250131T010101.dat")
    site.at_site(long, A)
    told = [one for one in site.archive().json["errors"] if one["what"] == "Bad"]
    assert len(told) == 1
    assert "FTS keeps 1100" in told[0]["why"]
    site.settle()
    assert site.files() == {"OnTape": 1, "Bad": 1}
    (row,) = site.sql("SELECT error_class, reason, zip_id FROM daq_file WHERE state = 'Bad'")
    assert row[::2] == ("invalid", None)
    assert "FTS keeps 1100" in row[1]
    assert site.copy(long).exists()


@pytest.mark.parametrize("how", ["FAILED", "FINISHEDDIRTY", "CANCELED"])
def test_line_6_a_job_of_the_servers_that_failed_is_done_again(site: Archive, how: str) -> None:
    lfns = site.at_site(A, B)
    match = "*b_2025*" if how == "FINISHEDDIRTY" else "*"
    op = "stall" if how == "CANCELED" else "fail"
    site.faults(
        f'[[fault]]\nmatch = "{match}.zip"\nop = "{op}"\nreason = "TRANSFER  Connection reset"\ntimes = 2\nseconds = 600\n'
    )
    site.zipped()
    site.archive()
    (job,) = [job for (job,) in site.sql("SELECT job FROM ftsjob")]
    if how == "CANCELED":
        site.ask(f"/jobs/{job}", method="DELETE")
        site.faults("")
    site.over()
    assert site.ask(f"/jobs/{job}")["job_state"] == how
    site.faults("")
    site.archive()
    assert "Bad" not in site.files()
    site.due()
    site.settle()
    assert site.files() == {"OnTape": 2}
    assert [site.zip_row(lfn)["attempt"] for lfn in lfns] == [1, 1], "the zip is not made again"
    assert len(site.copies()) == 2


def test_line_5_an_answer_that_is_lost_behind_a_submission_makes_no_second_copy(site: Archive) -> None:
    site.at_site(A)
    site.faults('[[fault]]\nmatch = "POST /jobs"\nop = "lose-answer"\ntimes = 1\n')
    site.zipped()
    site.archive()
    site.settle()
    assert site.files() == {"OnTape": 1}
    assert len(site.copies()) == 1
    assert site.sql("SELECT COUNT(*) FROM ftsjob") == [(1,)]


def test_a_copy_that_always_fails_is_bad_and_retry_takes_the_same_zip_to_tape(site: Archive) -> None:
    site.settings("[daq]\nmax_attempts = 1\n")
    site.at_site(A)
    site.faults('[[fault]]\nmatch = "*.zip"\nop = "fail"\nreason = "TRANSFER  Permission denied"\n')
    to_tape(site)
    told = site.archive().json["errors"]
    assert site.files() == {"Bad": 1}
    zip_told = [one for one in told if one["what"] == "Bad" and "daq-archive --retry" in one["next"]]
    assert zip_told, told
    row = site.zip_row(A)
    assert row["error_class"], row
    assert "Permission denied" in row["reason"]
    site.faults("")
    site.run("daq-archive", "--retry", row["error_class"]).ok()
    assert site.files() == {"Zipped": 1}
    site.settle()
    assert site.files() == {"OnTape": 1}
    assert site.zip_row(A)["attempt"] == 1


def test_a_tape_that_says_online_only_proves_nothing_and_fails_nothing(site: Archive) -> None:
    site.settings("[daq]\narchive_timeout = 1\n")
    site.at_site(A, B)
    to_tape(site)
    status(site, A, "ONLINE")
    status(site, B, "ONLINE_AND_NEARLINE")
    site.archive()
    assert site.files() == {"ToTape": 1, "OnTape": 1}
    assert len([name for name in site.zips() if "a_2025" in name]) == 1, "the zip at the site stays"
    for said in ("UNKNOWN", "LOST"):
        status(site, A, said)
        with site.database() as db:
            db.execute("UPDATE daq_zip SET since = '2025-01-01 00:00:00.000000' WHERE state = 'ToTape'")
        found = site.archive(codes=(0,)).json
        (told,) = found["errors"]
        assert (told["what"], said in told["why"]) == ("not proved on tape", True)
        assert site.files() == {"ToTape": 1, "OnTape": 1}
    status(site, A, "NEARLINE")
    site.settle()
    assert site.files() == {"OnTape": 2}


def test_a_tape_whose_checksum_differs_is_never_on_tape(site: Archive) -> None:
    site.settings("[daq]\nmax_attempts = 2\n")
    site.at_site(A)
    site.faults('[[fault]]\nmatch = "*.zip"\nop = "corrupt"\n')
    for _ in range(3):
        to_tape(site)
        site.archive()
        site.due()
    assert site.files() == {"Bad": 1}
    assert site.zip_row(A)["error_class"] == "checksum"
    assert len(site.zips()) == 1, "the zip at the site stays"
    assert site.copy(A).exists()


def test_a_zip_that_vanished_before_its_copy_is_made_anew(site: Archive) -> None:
    site.at_site(A, B)
    site.servers["fts1"].stop()
    site.zipped()
    site.archive()
    assert site.files() == {"ToTape": 2}
    Path(site.zip_row(A)["place"].removeprefix("file://")).unlink()
    site.start()
    for _ in range(2):
        site.archive()
    assert site.zip_row(A)["state"] == "Waiting"
    site.settle()
    assert site.files() == {"OnTape": 2}
    assert (site.zip_row(A)["attempt"], site.zip_row(B)["attempt"]) == (2, 1)
    assert site.unzipped(A) == site.copy(A).read_bytes()


def test_line_8_a_kill_between_removal_and_its_booking_leaves_nothing_for_ever(site: Archive) -> None:
    """What it leaves: the zip is gone from the site, its row says OnTape. A source that went meanwhile is no matter."""
    site.at_site(A, freed=True)
    to_tape(site)
    status(site, A, "ONLINE")
    site.archive()
    Path(site.zip_row(A)["place"].removeprefix("file://")).unlink()
    status(site, A, "NEARLINE")
    site.archive()
    assert site.files() == {"Freed": 1}
    assert site.zip_row(A)["state"] == "Cleaned"


def test_a_zip_at_the_site_that_changed_is_not_removed(site: Archive) -> None:
    site.at_site(A)
    to_tape(site)
    place = Path(site.zip_row(A)["place"].removeprefix("file://"))
    place.write_bytes(b"somebody's")
    told = site.archive(codes=(0,)).json["errors"]
    assert [one["what"] for one in told] == ["not removed from the site"]
    assert place.read_bytes() == b"somebody's"
    assert site.files() == {"OnTape": 1}


def test_an_old_proof_is_made_again_before_the_zip_is_removed(site: Archive) -> None:
    site.at_site(A)
    to_tape(site)
    place = Path(site.zip_row(A)["place"].removeprefix("file://"))
    kept = place.read_bytes()
    place.write_bytes(b"in the way")
    site.archive()
    place.write_bytes(kept)
    with site.database() as db:
        db.execute("UPDATE daq_zip SET proved = '2025-01-01 00:00:00.000000'")
    tape = site.on_tape(A)
    tape.write_bytes(b"lost")
    told = site.archive(codes=(0,)).json["errors"]
    assert [one["what"] for one in told] == ["tape copy not proved again"]
    assert place.exists()
    tape.write_bytes(kept)
    site.archive()
    assert not place.exists()
    assert site.zip_row(A)["state"] == "Cleaned"


def test_without_keep_site_the_files_copies_go_too_and_the_journal_said_so_before(site: Archive) -> None:
    site.settings("[daq]\nkeep_site = false\n")
    site.at_site(A, B)
    kept = site.copy(A).read_bytes()
    site.copy(B)
    site.settle()
    assert site.files() == {"OnTape": 2}
    assert not site.copy(A).exists()
    assert site.unzipped(A) == kept
    said = site.sql("SELECT why, to_state FROM journal WHERE kind = 'daq-zip' AND item = ? ORDER BY id", site.zip_row(A)["id"])
    words = [why for why, _ in said]
    assert any("will be removed" in why for why in words[-2:])
    assert said[-1][1] == "Cleaned"


def test_every_server_away_is_75_and_jobs_go_on_all_the_same(site: Archive) -> None:
    site.servers["fts1"].stop()
    site.at_site(A)
    site.zipped()
    assert site.archive(codes=(75,)).json["state"] == "unavailable"
    site.at_site(B)
    found = site.archive(codes=(0,)).json
    assert "AtSite>Zipping" in found["counts"]
    site.jobs_over()
    site.start()
    site.settle()
    assert site.files() == {"OnTape": 2}


SIZES = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(("250131", "250201"))), max_size=40)


class Row:
    """A file as `in_groups` sees it."""

    def __init__(self, number: int, size: int, day: str) -> None:
        self.id, self.size, self.lfn = number, size, f"/2501/{day}/{number}"


@given(SIZES, st.integers(0, 50), st.integers(1, 20))
def test_groups_hold_every_file_once_within_size_and_day(files: list[tuple[int, str]], limit: int, most: int) -> None:
    rows = [Row(number, size, day) for number, (size, day) in enumerate(files)]
    groups = list(choosing.in_groups(rows, limit, most))
    ids = [row.id for group in groups for row in group]
    assert len(ids) == len(set(ids))
    assert len(groups) <= most
    if len(groups) < most:
        assert sorted(ids) == list(range(len(rows)))
    for group in groups:
        assert len({row.lfn[:12] for row in group}) == 1
        assert len(group) == 1 or sum(row.size for row in group) <= limit


@given(
    st.binary(min_size=1, max_size=250).filter(lambda raw: b"/" not in raw and b"\0" not in raw),
    st.text("0123456789abcdef", min_size=20, max_size=20),
)
def test_an_uploads_name_fits_and_is_never_anothers(raw: bytes, digits: str) -> None:
    from dmtools.daq.zips import upload_url
    from dmtools.names import decode

    settings = parse("", home=Path("/h"), file=None)
    lfn = encode(b"/2501/250131/" + raw)
    one, other = (upload_url(settings, f"{lfn}.zip", key) for key in (f"dm-{digits}", f"dm-{digits[::-1]}"))
    assert (one == other) == (digits == digits[::-1])
    assert len(decode(one.rpartition("/")[2])) <= 255
