"""What the tools say, as they said it, and what it means; and the one writing of a checksum."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.names import NameRefused
from dmtools.storage import checksum
from dmtools.storage.texts import classify, first_line
from dmtools.storage.xrootd import parse_stat
from dmtools.storage.xrootd_url import place

SAID = [
    # xrdfs, xrdcp
    ("[ERROR] Server responded with an error: [3011] Unable to locate /x; no such file or directory \n\n", "missing", False),
    ("[ERROR] Server responded with an error: [3011] Unable to checksum /x; no such file or directory", "missing", False),
    (
        "Run: [ERROR] Server responded with an error: [3011] Unable to open /x; no such file or directory  (source)",
        "missing",
        False,
    ),
    ("[ERROR] Server responded with an error: [3005] Unable to locate /x; not a directory", "missing", False),
    ("[ERROR] Server responded with an error: [3005] Unable to remove /x; directory not empty", "io", True),
    ("[ERROR] Server responded with an error: [3011] No servers have access to the file", "unreachable", False),
    ("[ERROR] Server responded with an error: [3011] No servers are available to read the file.", "unreachable", True),
    ("[ERROR] Server responded with an error: [3010] Unable to checksum /x; permission denied", "permission", False),
    ("[ERROR] Server responded with an error: [3016] Unable to checksum /x; is a directory", "invalid", False),
    ("[ERROR] Server responded with an error: [3012] sha1 checksum not supported. ", "unsupported", True),
    ("[ERROR] Server responded with an error: [3009] Unable to write /x; no space left on device", "full", True),
    ("[ERROR] Server responded with an error: [3018] Unable to create /x; file exists", "occupied", False),
    ("Run: [ERROR] Invalid operation: file exists", "occupied", False),
    ("Run: [ERROR] CheckSum error", "checksum", False),
    ("[ERROR] Operation expired", "timeout", True),
    ("Run: [ERROR] Operation expired:  (source)", "timeout", True),
    ("[FATAL] Connection error", "unreachable", True),
    ("[FATAL] Invalid address", "unreachable", True),
    ("[FATAL] Socket timeout", "unreachable", True),
    ("[FATAL] Auth failed: No protocols left to try", "credentials", True),
    # gfal
    ("gfal-stat error: 2 (No such file or directory) - Failed to stat file (No such file or directory)", "missing", False),
    ("gfal-sum error: 2 (No such file or directory) - HTTP 404 : File not found ", "missing", False),
    ("root://127.0.0.1:31094//nope\tMISSING", "missing", False),
    ("gfal-stat error: 13 (Permission denied) - Failed to stat file (Permission denied)", "permission", False),
    ("gfal-stat error: 1 (Operation not permitted) - HTTP 403 : Permission refused ", "permission", False),
    ("gfal-stat error: 13 (Permission denied) - Result (Neon): SSL handshake failed: unexpected eof", "credentials", True),
    ("gfal-stat error: 112 (Host is down) - Result Could not connect to server after 1 attempts", "unreachable", True),
    ("gfal-stat error: 113 (No route to host) - Result Domain name resolution failed after 1 attempts", "unreachable", True),
    ("gfal-stat error: 110 (Connection timed out) - Connection timed out", "timeout", True),
    ("gfal-stat error: 93 (Protocol not supported) - Protocol not supported or path/url invalid: srm://x", "unsupported", True),
    ("gfal-copy error: 17 (File exists) - Destination root://h//x exists and overwrite is not set", "occupied", False),
    (
        "gfal-copy error: 84 (Invalid or incomplete multibyte) - Error on XrdCl::CopyProcess::Run(): [ERROR] CheckSum error",
        "checksum",
        False,
    ),
    (
        "gfal-copy error: 5 (Input/output error) - SOURCE CHECKSUM MISMATCH Source and user-defined ADLER32 do not",
        "checksum",
        False,
    ),
    ("gfal-copy error: 28 (No space left on device) - DESTINATION write", "full", True),
    ("gfal-stat error: 5 (Input/output error) - Result HTTP 503 : Service Unavailable after 3 attempts", "unreachable", True),
    ("terminate called after throwing an instance of 'boost::python::error_already_set'", "invalid", False),
    # words of the production service
    ("TRANSFER CHECKSUM MISMATCH", "checksum", False),
    ("Probably stalled", "timeout", True),
    ("Transfer canceled because the gsiftp performance marker timeout of 180 seconds has been exceeded", "timeout", True),
    ("SOURCE SRM_GET_TURL error on the turl request : [SE][StatusOfGetRequest][SRM_FILE_UNAVAILABLE]", "unreachable", True),
    ("Communication error on send", "unreachable", True),
    ("globus_ftp_control_local_pasv failed", "io", True),
    ("an unexpected end of file was reached: bad data was encountered", "io", True),
    ("Command failed : error: commands denied", "permission", False),
    # no proof of absence: words about something else
    (
        "gfal-stat error: 2 (No such file or directory) - Could not open the proxy /tmp/x509up_u0: No such file",
        "credentials",
        True,
    ),
    ("gfal-stat: libgfal2.so: cannot open shared object file: No such file or directory", "io", True),
    ("something quite new", "io", True),
    ("", "io", True),
]


@pytest.mark.parametrize(("said", "cls", "wide"), SAID)
def test_what_the_tools_say_has_its_class(said: str, cls: str, wide: bool) -> None:
    assert classify(said, ["/x"]) == (cls, wide)


def test_a_name_is_never_read_as_a_verdict() -> None:
    name = "/data/[3011]/gfal-stat error: 2 (no such file/checksum error/Operation expired"
    said = f"[ERROR] Server responded with an error: [3010] Unable to locate {name}; permission denied"
    assert classify(said, [name]) == ("permission", False)


def test_the_telling_line_is_shown() -> None:
    assert first_line("\n[1MB/2MB]\n  Run:  [ERROR] CheckSum   error\n\n") == "Run: [ERROR] CheckSum error"
    assert first_line("") == "it said nothing"


@pytest.mark.parametrize("written", ["adler32:1a2b", "ADLER32:00001A2B", "adler32 1a2b\0", "1a2b", "0x1A2B", "adler-32=1a2b"])
def test_every_writing_of_a_checksum_becomes_one(written: str) -> None:
    assert checksum.normal(written) == "adler32:00001a2b"


@pytest.mark.parametrize("written", ["", "md5:1234", "adler32:", "adler32:123456789", "xyz", "adler32:12 34"])
def test_what_is_no_checksum_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="adler32"):
        checksum.normal(written)


@given(st.binary(max_size=300))
def test_our_adler32_is_the_standard_librarys(data: bytes) -> None:
    import zlib

    assert checksum.adler32(data) == zlib.adler32(data)
    assert checksum.normal(checksum.text(checksum.adler32(data))) == f"adler32:{zlib.adler32(data):08x}"


# ---- XRootD names --------------------------------------------------------------------------------------------------------


def test_an_xrootd_url_taken_apart() -> None:
    where = place("root://u@host:1094//a%20b/c%0Ad%FF%25")
    assert (where.endpoint, where.path, where.opaque) == ("root://u@host:1094", b"/a b/c\nd\xff%", b"")
    assert where.full() == b"root://u@host:1094//a b/c\nd\xff%"
    assert place("ROOT://host/pnfs/x").path == b"/pnfs/x"
    assert place("root://echo/lhcb:prod/x").full() == b"root://echo/lhcb:prod/x"
    asked = place("root://host//x?svcClass=a")
    assert asked.asked(b"cks.type=adler32") == b"/x?svcClass=a&cks.type=adler32"


@pytest.mark.parametrize(
    "url", ["root://host", "root:///x", "https://h/x", "root://h//a/../b", "root://h//a%00", "root://h//a%3Fb", "root://a b//x"]
)
def test_what_xrootd_cannot_name_is_refused(url: str) -> None:
    with pytest.raises(NameRefused):
        place(url)


def test_the_stat_of_xrdfs_4_and_5_is_read() -> None:
    head = b"\nPath:   /x\nId:     92\nSize:   5\nMTime:  2026-11-24 15:17:52\n"
    new = head + b"CTime:  2026-11-24 15:18:52\nFlags:  48 (IsReadable|IsWritable)\nMode:   0644\n"
    old = head + b"Flags:  16 (IsReadable)\n"
    for out, flags in ((new, 48), (old, 16)):
        found = parse_stat(out)
        assert found is not None
        assert (found.size, found.mtime, found.ident, found.flags, found.is_file) == (5, 1795533472, 92, flags, True)
    assert parse_stat(b"Path: /x\nSize: many\n") is None


@given(st.binary(max_size=200))
def test_no_output_makes_the_stat_parser_fail(out: bytes) -> None:
    parse_stat(out)
    parse_stat(b"Size: 1\nMTime: " + out + b"\nFlags: " + out)
