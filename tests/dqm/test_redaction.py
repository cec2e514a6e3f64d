"""Nothing private gets out: by its form, because another place shows it to be private, or because a setting says so."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dmtools.dqm import generations
from dmtools.dqm.parsing import hosts, png
from dmtools.dqm.parsing.keys import Keys
from dmtools.dqm.parsing.redacting import Cleaner, Withheld
from dmtools.settings.dqm import Dqm
from tests.dqm import pages
from tests.dqm.pages import Job, Source
from tests.support import Result

# What must vanish, each where the form alone tells that it is private.
BY_FORM = {
    "path": [
        "/fff/BU0/canary/run1",
        "~canary/x",
        "../canary/etc",
        "C:\\canary\\x",
        "\\\\canary\\share",
        "src/canary/x.cc",
        "file:/canary",
    ],
    "quoted path": ['"/home/canary smith/a"', "'/data/canary b'"],
    "mail": ["canary@cern.ch", "<can.ary+x@canary.org>", "canary (at) cern (dot) ch"],
    "url": ["https://canary.cern.ch/x?y=canary", "root://canary//eos/canary", "mailto:canary@x"],
    "v4": ["188.184.77.12", "10.0.0.1:8080", "(127.0.0.1)"],
    "v6": ["2001:db8:0:0:0:0:77:1", "fe80::77:1%eth0", "[2001:db8::77]:443", "::ffff:188.184.77.12"],
    "mac": ["aa:bb:cc:77:ee:ff", "aa-bb-cc-77-ee-ff"],
    "host": [
        "canary.cern.ch",
        "canary-c2f11-77-01",
        "canary-c2f11-77-01.cms",
        "host: canary7",
        "on node canary77",
        "vocms-canary7",
    ],
    "user": [
        "user=canary",
        "User: Canary Bird",
        "LOGNAME=canary",
        "uid=42(canary)",
        "started by canary",
        "login as canary",
        "sudo -u canary",
    ],
    "owner": ["-rw-r--r-- 1 canary zh 42 Nov 25 12:00 x.root"],
    "token": [
        "token=canary77",
        "password: canary77",
        '{"api_key": "canary 77"}',
        "Authorization: Bearer canary77canary",
        "Cookie: sid=canary77; path=x",
        "--password canary77",
        "ghp_77canaryCANARY77canary77CANARY",
        "eyJjYW5hcnk.eyJjYW5hcnk3Nw.canary77",
        "AKIACANARY77CANARY77",
        "77ca4a7777ca4a7777ca4a7777ca4a77",
        base64.b64encode(b"the canary sings at seventy-seven").decode(),
    ],
}
FORMS = [text for texts in BY_FORM.values() for text in texts]
CODED = base64.b64encode(b"the canary sings at seventy-seven").decode()


def hides(cleaned: str) -> bool:
    """Is nothing of the examples left?"""
    low = cleaned.lower()
    return not any(
        word in low for word in ("canary", "188.184", "77", CODED[:9].lower(), "10.0.0.1", "127.0.0", "smith", "bird", "aa:bb")
    )


@pytest.mark.parametrize("kind", BY_FORM)
def test_line_8_what_is_private_by_its_form_is_hidden(kind: str) -> None:
    cleaner = Cleaner(Dqm())
    for text in BY_FORM[kind]:
        for line in (text, f"opened {text} at last", f"[{text}]", f'"{text}",', f"x\x1b[31m{text}\x1b[0m", f"\u200b{text}"):
            assert hides(cleaner.text(line)), (line, cleaner.text(line))


def test_what_is_not_private_stays_readable() -> None:
    lines = [
        "Begin processing the 2000th record. Run 380001, Event 194013, LumiSection 12 on stream 0 at 25-Nov-2026 12:00:00.1 CET",
        "%MSG-i DqmStreamer: (NoModuleName) 100/200 files, 12.5 evt/s, 3.4 kB/s and/or N/A, utf-8, run-380001",
        "HLT_PFMET120_PFMHT120_IDTight_v20",
        "An exception of category 'LogicError' occurred while calling method for module BeamMonitor/'beamMonitor'",
        "in edm::Worker::doWork<edm::OccurrenceTraits<edm::EventPrincipal>> () from libFWCoreFramework.so, CMSSW_14_0_6",
        "A fatal system signal has occurred: segmentation violation; process.source = cms.Source",
    ]
    cleaner = Cleaner(Dqm())
    assert [cleaner.text(line) for line in lines] == lines


SECRETS = ["dqmpro77", "anna", "vocms0123", "dqmfu-c2b01-45-01", "dqm-source-state-run380001-hostx-pid4711"]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_one_place_shows_to_be_private_is_hidden_everywhere(secret: str) -> None:
    cleaner = Cleaner(Dqm())
    cleaner.learn([secret])
    forms: list[Callable[[str], str]] = [str, str.upper, str.title, lambda s: f"({s})", lambda s: f"x {s}.", lambda s: f"--{s}--"]
    forms += [quote, lambda s: "".join(f"%{byte:02x}" for byte in s.encode()), lambda s: quote(quote(s).replace("-", "%2D"))]
    forms += [
        lambda s: "".join(f"&#{ord(c)};" for c in s),
        lambda s: "".join(f"&#x{ord(c):x};" for c in s),
        lambda s: s[:2] + "\u200b" + s[2:],
    ]
    forms += [lambda s: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in s)]
    if len(secret) > 4:
        forms += [lambda s, n=n: base64.b64encode(b"ab:"[:n] + s.encode() + b"!?").decode() for n in range(3)]  # type: ignore[misc]
        forms += [lambda s: base64.urlsafe_b64encode(s.encode()).decode(), lambda s: binascii.hexlify(s.encode()).decode()]
        forms += [lambda s: f"x{s}y", lambda s: f"{s}_tmp"]
    for form in forms:
        cleaned = cleaner.text(f"see {form(secret)} there")
        assert secret[:5] not in cleaned.lower(), (form(secret), cleaned)
        assert form(secret) not in cleaned, cleaned
        assert cleaned.startswith("see ")


def test_settings_hide_words_and_patterns_and_may_show_words() -> None:
    cleaner = Cleaner(Dqm(hide=("Zebra", "p5"), hide_patterns=(r"shift \w+",), show=("/fff/bu0/public", "jane", "utf-16x")))
    cleaner.learn(["jane", "john"])
    said = cleaner.text("zebra azebrab P5x shift leader /fff/BU0/public /fff/BU0/private jane john utf-16x zeb-1x")
    assert said == "[hidden] a[hidden]b [hidden]x [hidden] /fff/BU0/public [path] jane [hidden] utf-16x [host]"


def test_a_rule_that_can_t_be_used_withholds_every_text() -> None:
    cleaner = Cleaner(Dqm(hide_patterns=("(",)))
    with pytest.raises(Withheld, match="hide_patterns can't be used"):
        cleaner.text("all is well")
    assert not cleaner.is_innocent("beam")


def test_an_error_while_cleaning_withholds_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaner = Cleaner(Dqm())
    monkeypatch.setattr(cleaner, "_once", lambda line: 1 / 0)
    with pytest.raises(Withheld, match="the rules failed"):
        cleaner.text("canary")
    endless = Cleaner(Dqm())
    monkeypatch.setattr(endless, "_once", lambda line: line + "x")
    with pytest.raises(Withheld, match="does not become clean"):
        endless.text("canary")


def test_a_key_over_several_lines_is_hidden_whole_and_long_texts_are_cut() -> None:
    cleaner = Cleaner(Dqm())
    pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIcanary\nabc\n-----END RSA PRIVATE KEY-----\nbehind"
    assert cleaner.text("before\n" + pem) == "before\n" + "[secret]\n" * 4 + "behind"
    long = cleaner.text("\n".join(f"line {n}" for n in range(10_000)))
    assert (long.count("\n"), "[6000 lines are left out]" in long, long.endswith("line 9999")) == (4000, True, True)
    wide = cleaner.text("word " * 100_000)
    assert len(wide) < 2100
    assert "canary" not in cleaner.text("x" * 19_990 + " user=canary" + "y" * 50_000)


def test_line_8_hosts_are_shortened_or_replaced_whole() -> None:
    """Original: a name without a dash was shown whole."""
    keys, cleaner = Keys(b"k" * 32), Cleaner(Dqm(hide=("zebra",)))
    assert hosts.short("fu-c2f11-11-01.cms", keys, cleaner) == "fu-...-01"
    assert hosts.short("dqmfu-c2b01-45-01", keys, cleaner) == "dqmfu-...-01"
    assert hosts.short_uri("ws://bu-c2f11-09-01.cms:9215/sync", keys, cleaner) == "ws://bu-...-01"
    bad = [
        "canary",
        "127.0.0.1",
        "canary.cern.ch",
        "a-canary",
        "canary-1",
        "anna-x-canary7",
        "zebra-c2-01",
        "[::1]",
        "1-2-3",
        "",
        "-",
        "x" * 300,
    ]
    for host in bad:
        short = hosts.short(host, keys, cleaner)
        assert short.startswith("host-"), host
        assert len(short) == 9, host
        uri = hosts.short_uri(f"ws://{host}:9215/sync-canary-ws://canary", keys, cleaner)
        assert uri.startswith(("ws://host-", "host-")), host
        assert "canary" not in uri
    assert (
        hosts.short("canary", keys, cleaner)
        == hosts.short("canary", keys, cleaner)
        != hosts.short("canary", Keys(b"j" * 32), cleaner)
    )


_word = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=5, max_size=12).filter(lambda word: not word.isdecimal())
_filler = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@given(
    _word,
    st.lists(
        st.tuples(_filler, st.sampled_from(["plain", "upper", "percent", "base64", "entity", "path", "mail", "key"])), max_size=5
    ),
)
@settings(max_examples=150)
def test_any_text_with_planted_secrets_shows_none_of_them(word: str, parts: list[tuple[str, str]]) -> None:
    secret = "q7" + word
    forms = {
        "plain": secret,
        "upper": secret.upper(),
        "percent": "".join(f"%{byte:02X}" for byte in secret.encode()),
        "base64": base64.b64encode(secret.encode()).decode(),
        "entity": "".join(f"&#{ord(c)};" for c in secret),
        "path": f"/home/{secret}/x",
        "mail": f"{secret}@x.org",
        "key": f"password={secret}",
    }
    cleaner = Cleaner(Dqm())
    cleaner.learn([secret])
    try:
        cleaned = cleaner.text("".join(filler + forms[form] for filler, form in parts))
    except Withheld:
        return
    assert secret not in cleaned.lower()
    assert secret not in cleaner.text(cleaned).lower()
    assert cleaner.text(cleaned) == cleaned or len(cleaned) > 2000
    for form in ("percent", "base64", "entity"):
        assert forms[form] not in cleaned


@given(st.text(max_size=400))
@example("\x1e\x1f")
@settings(max_examples=150)
def test_any_text_is_cleaned_or_withheld(text: str) -> None:
    cleaner = Cleaner(Dqm())
    try:
        cleaned = cleaner.text(text)
    except Withheld:
        return
    assert not any(ord(c) < 32 and c != "\n" for c in cleaned)
    assert cleaner.text(cleaned) == cleaned


# ---- pictures ------------------------------------------------------------------------------------------------------------

TEXTS = ((b"tEXt", b"Author\0canary"), (b"iTXt", b"canary"), (b"eXIf", b"canary"), (b"caNa", b"canary"), (b"PLTE", b"canary"))


def test_pictures_keep_their_pixels_and_lose_all_else() -> None:
    plain = pages.png(8)
    assert png.cleaned(plain) == plain
    assert png.cleaned(pages.png(8, extra=TEXTS, tail=b"canary")) == plain


def _header(width: int, height: int, depth: int = 8, colour: int = 6, interlace: int = 0) -> bytes:
    header = pages.chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + header + pages.chunk(b"IDAT", zlib.compress(b"\0" * 40)) + pages.chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg>canary</svg>",
        pages.png(8)[:-5],
        pages.png(8)[:60] + b"canary" + pages.png(8)[66:],
        pages.png(8).replace(b"IEND", b"IENX"),
        _header(100_000, 1),
        _header(4, 4),
        _header(0, 4),
        _header(2, 2, interlace=1),
        _header(2, 2, depth=7),
        pages.png(8) * 2_000_000 if False else b"\x89PNG\r\n\x1a\n" + b"\0" * (5 << 20),
        pages.png(8, extra=((b"IHDR", struct.pack(">IIBBBBB", 8, 4, 8, 6, 0, 0, 0)),)),
        pages.png(8, extra=((b"IDAT", b"canary"),)),
    ],
    ids=range(13),
)
def test_what_is_no_proved_picture_is_withheld(data: bytes) -> None:
    with pytest.raises(png.NoPicture):
        png.cleaned(data)


@given(st.binary(max_size=200), st.integers(0, 200))
@settings(max_examples=100)
def test_any_bytes_are_a_clean_picture_or_none(data: bytes, at: int) -> None:
    whole = pages.png(8)
    for given_ in (data, whole[:at] + data + whole[at:]):
        try:
            assert png.cleaned(given_) in (whole, given_)
        except png.NoPicture:
            continue


# ---- all of it, by the command -----------------------------------------------------------------------------------------------

PLANTED = "q7canary"


def planted_source() -> Source:
    log = (
        f"user={PLANTED}user on {PLANTED}host.cern.ch opened /fff/{PLANTED}/x token={PLANTED}token mail {PLANTED}mail@cern.ch",
        f"plain {PLANTED}user and {PLANTED}cmd and {PLANTED}link <b>{PLANTED}user</b> 188.184.77.12 2001:db8::77",
    )
    jobs = [
        Job(
            1,
            host=f"{PLANTED}-c2b01-45-{PLANTED}.cms",
            log=log,
            cmdline=("cmsRun", f"/home/{PLANTED}cmd/x.py", f"user={PLANTED}cmd2"),
        ),
        Job(2, host=f"{PLANTED}nodash", log=(f"on {PLANTED}nodash as {PLANTED}cmd2 {quote('/' + PLANTED)}",)),
        Job(3, tag=f"{PLANTED}user"),
        Job(
            4,
            log=(
                base64.b64encode(f"{PLANTED}user".encode()).decode(),
                f"id dqm-source-state-run380001-host{PLANTED}nodash-pid4002",
            ),
        ),
    ]
    head = f"""<!-- {PLANTED}c user={PLANTED}user --><script>var token = "{PLANTED}script"; // {PLANTED}mail@cern.ch</script>
<meta name="author" content="{PLANTED}meta"><style>/* /home/{PLANTED}style */</style>"""
    links = ((f"ws://{PLANTED}link.cms:9215/sync", "live"), (f"ws://{PLANTED}-c2-{PLANTED}:9215/sync", f"closed: by {PLANTED}"))
    return Source(jobs, links=links, hidden_in_head=head)


def every_byte(public: Path) -> bytes:
    """Names and contents of all files below."""
    return b"\n".join(
        str(path.relative_to(public)).encode() + b"\n" + (path.read_bytes() if path.is_file() else b"")
        for path in public.rglob("*")
    )


def test_line_8_no_planted_secret_is_in_any_byte_or_name_of_the_public_area(run: Callable[..., Result], home: Path) -> None:
    source = planted_source()
    picture = pages.png(8, extra=((b"tEXt", f"Author\0{PLANTED}".encode()),), tail=PLANTED.encode())
    files = {"graph-1.png": picture, "graph-2.png": PLANTED.encode(), f"{PLANTED}.txt": b"x", f"graph-{PLANTED}.png": picture}
    facts = {"url": f"http://{PLANTED}", "link": PLANTED}
    pages.grab(home, source, files=files, facts=facts)
    pages.grab(home, source, run=380001, files=files)
    pages.grab(home, source, "playback", files={"documents.json": source.documents(), "graph-1.png": picture})
    (home / f"dqm/raw/production/{PLANTED}.html").write_text(PLANTED)
    (home / f"dqm/raw/production/runs/{PLANTED}").mkdir()
    run("dqm-parser", home=home).gave(0, 1)
    public = home / "dqm/public"
    found = every_byte(public)
    assert len(list(generations.every(public / "production/live"))) == 1
    assert b"log-" in found
    for secret in (
        PLANTED,
        PLANTED.upper(),
        base64.b64encode(PLANTED.encode()).decode()[:10],
        "188.184",
        "db8::77",
        quote(f"/{PLANTED}", safe=""),
    ):
        assert secret.encode() not in found, secret
    assert b"<script" not in found
    assert PLANTED.encode() in every_byte(home / "dqm/raw")


def test_line_9_all_text_is_escaped(run: Callable[..., Result], home: Path) -> None:
    """Original: cells and logs went out as HTML."""
    source = Source(
        [Job(1, log=("<script>alert(1)</script> & \"x\"='log-y'",)), Job(2, tag="a<b>")], links=(("ws://x<y-1-2/", "live"),)
    )
    pages.grab(home, source)
    run("dqm-parser", home=home).gave(0, 1)
    live = generations.newest(home / "dqm/public/production/live")
    assert live is not None
    html = (live.path / "page.html").read_text()
    logs = [path.read_text() for path in live.path.glob("log-*.txt")]
    assert "<script" not in html
    assert "<b>" not in html
    assert "x<y" not in html
    assert any(log.startswith("<script>alert") for log in logs)  # a text; whoever serves it says so
