"""The table of error texts: what was seen in production, in every wording, and names that look like errors."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dmtools.transfers.errors import CLASSES, classify

SEEN = [
    ("TRANSFER CHECKSUM MISMATCH", "checksum"),
    ("TRANSFER [5] TRANSFER CHECKSUM MISMATCH Source and destination checksums do not match 1 != 2", "checksum"),
    ("SOURCE [5] Source and user-defined ADLER32 checksum do not match (03da0195 != 2f6f0b2a)", "checksum"),
    ("DESTINATION [5] User-defined and destination ADLER32 checksum do not match (a != b)", "checksum"),
    ("DESTINATION [5] Source and destination ADLER32 checksum do not match (a != b)", "checksum"),
    ("DESTINATION [22] Source and destination file size mismatch", "checksum"),
    ("Probably stalled", "stalled"),
    ("GENERAL_FAILURE [110] Transfer has been forced-killed because it was stalled", "stalled"),
    ("TRANSFER [110] Transfer canceled because the gsiftp performance marker timeout of 360 seconds has passed", "stalled"),
    ("TRANSFER [110] Connection timed out", "stalled"),
    ("GENERAL_FAILURE [110] Transfer has been forced-canceled because it has been in ARCHIVING state beyond its archive timeout",
     "stalled"),
    ("SOURCE SRM_GET_TURL error on the turl request : [SE][StatusOfGetRequest][SRM_FAILURE]", "source"),
    ("Communication error on send", "network"),
    ("TRANSFER globus_ftp_client: the server responded with an error 500 Command failed. : globus_ftp_control_local_pasv failed",
     "network"),
    ("TRANSFER [103] Software caused connection abort", "network"),
    ("bad data was encountered", "data"),
    ("SOURCE [5] Input/output error", "data"),
    ("TRANSFER Command failed : error: commands denied", "permission"),
    ("DESTINATION [13] Permission denied", "permission"),
    ("TRANSFER [1] Operation not permitted", "permission"),
    ("500 No such file or directory", "missing"),
    ("SOURCE [2] No such file or directory", "missing"),
    ("SOURCE [2] HTTP 404 : File not found", "missing"),
    ("SOURCE SRM_INVALID_PATH", "missing"),
    ("DESTINATION [2] No such file or directory", "other"),
    ("DESTINATION [2] HTTP 404 : File not found", "other"),
    ("DESTINATION SRM_INVALID_PATH", "other"),
    ("DESTINATION [17] Destination file exists and overwrite is not enabled", "occupied"),
    ("DESTINATION [17] Destination file exists and is on tape", "occupied"),
    ("TRANSFER [17] globus: 451 File exists", "occupied"),
    ("DESTINATION SRM_DUPLICATION_ERROR", "occupied"),
    ("DESTINATION [36] File name too long", "name"),
    ("SOURCE [93] Protocol not supported or path/url invalid", "invalid"),
    ("DESTINATION [28] No space left on device", "full"),
    ("DESTINATION [122] Disk quota exceeded", "full"),
    ("DESTINATION SRM_NO_FREE_SPACE", "full"),
    ("Storage banned", "server"),
    ("User banned", "server"),
    ("Transfer has been forced-canceled because host fts-01.cern.ch is offline", "server"),
    ("Job has been canceled because it stayed in the queue for too long (max-time-in-queue timeout)", "server"),
    ("SOURCE [13] proxy expired", "credentials"),
    ("The proxy of /DC=ch/CN=me has expired", "credentials"),
    ("TRANSFER [13] Credential with subject /DC=x is expired", "credentials"),
    ("Job canceled by the user", "canceled"),
    ("TRANSFER [125] Transfer canceled", "canceled"),
    ("something nobody has seen yet", "other"),
    ("", "other"),
    (None, "other"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name"), SEEN, ids=[str(text)[:50] for text, _ in SEEN])
def test_the_texts_seen_in_production(text: str | None, name: str) -> None:
    assert classify(text).name == name


NASTY = [
    "/lhcb/error/No such file",
    "/castor/run[28]/x[2].raw",
    "/data/404/x",
    "/a/checksum_mismatch.txt",
    "/store/already exists/y",
    "/x/proxy_expired/z",
    "root://host//a/Permission denied/timeout",
    "srm://h:8443/srm/managerv2?SFN=/quota exceeded/No_space_left",
    "file:///a/stalled/File%20exists/404",
]


@given(
    st.sampled_from([(t, n) for t, n in SEEN if t]),
    st.sampled_from(NASTY),
    st.sampled_from([" {}", ": {}", " ({})", " '{}' was it"]),
)
@example(("TRANSFER [110] Connection timed out", "stalled"), "/data/404/x", " {}")
@example(("Communication error on send", "network"), "root://host//a/Permission_denied/timeout", " {}")
def test_a_name_in_the_text_is_no_error(seen: tuple[str, str], path: str, shape: str) -> None:
    text, name = seen
    assert classify(text + shape.format(path.replace(" ", "%20"))).name == name
    assert classify(text + shape.format(path.replace(" ", "_"))).name == name


def test_every_class_says_what_to_do_and_is_never_laxer() -> None:
    assert all(kind.advice and kind.meaning for kind in CLASSES.values())
    assert {kind.name for kind in CLASSES.values() if not kind.attempt} == {"full", "credentials", "server"}
    assert {kind.limit for kind in CLASSES.values()} == {None, 1}
    assert {"missing", "name", "occupied", "invalid"} <= {kind.name for kind in CLASSES.values() if kind.limit == 1}


@given(st.text(max_size=200))
def test_any_text_has_a_class(text: str) -> None:
    assert classify(text).name in CLASSES
