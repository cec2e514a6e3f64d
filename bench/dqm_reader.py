"""Does a reader ever get an empty, a cut or a mixed page? .venv/bin/python bench/dqm_reader.py [--minutes N] [--readers N]

dqm-server before a public area in which the pages change as fast as they can be written, old ones are cleaned away at once, and
some come as rsync brings them: file by file, the manifest first, or harmed. Readers ask as fast as they can for the page, its
fragment, a log and a graph that the page names, and the API; every byte of a page has the number of its generation. Told: how
many answers, of how many pages; each answer that is not whole and of one page counts as bad, and the exit code is then 1. A file
of a page that was cleaned away meanwhile may be 404, and is counted beside.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
import requests

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dmtools import clock  # noqa: E402
from dmtools.dqm import generations  # noqa: E402
from dmtools.dqm.record import Graph, Job, Page  # noqa: E402
from tests.dqm import public  # noqa: E402
from tests.dqm.pages import png  # noqa: E402

JOBS, KEPT = 50, 8
WORD = re.compile(r"word-[0-9]+")


def files(number: int) -> dict[str, bytes]:
    """A page of which each part has the number; its length differs from one to the next."""
    word, at, keys = f"word-{number}", clock.now(), [f"{n:016x}" for n in range(JOBS + number % 7)]
    jobs = [Job(key=one, host="fu-...-01", state="running", at=at, tag=word, log=f"log-{one}.txt") for one in keys]
    graphs = (Graph(name=word, file="graph-1.png"),)
    page = Page(site="production", live=True, run=380001, grabbed=at, data=at, jobs=tuple(jobs), graphs=graphs)
    found = {str(job.log): (f"{word}\n" * (number % 50 + 1)).encode() for job in jobs}
    return {**found, "graph-1.png": png(8) + word.encode(), "page.json": msgspec.json.encode(page)}


def write(home: Path, stop: threading.Event, written: list[int]) -> None:
    place, aside = home / "dqm/public/production/live", home / "aside"
    number = 0
    while not stop.is_set():
        number += 1
        if number % 10 == 5:  # as rsync: the manifest first, then file by file
            made = generations.publish(aside, files(number))
            there = place / f"g{max(generations.numbers(place), default=0) + 1:010}"
            there.mkdir()
            for name in ("manifest.json", *made.manifest.files):
                (made.path / name).rename(there / name)
            made.path.rmdir()
        elif number % 10 == 8:  # harmed on its way
            made = generations.publish(aside, files(number))
            (made.path / "page.json").write_bytes(b" " * (made.path / "page.json").stat().st_size)
            made.path.rename(place / f"g{max(generations.numbers(place), default=0) + 1:010}")
        else:
            generations.publish(place, files(number))
        public.says(home)
        for old in list(generations.every(place))[KEPT:]:
            generations.remove(old)
        written[0] = number


def one_word(text: str) -> str:
    words = set(WORD.findall(text))
    assert len(words) == 1, f"mixed: {sorted(words)[:5]}"
    return str(words.pop())


def whole(word: str, rows: int) -> None:
    wanted = JOBS + int(word.partition("-")[2]) % 7
    assert rows == wanted, f"cut: {rows} of {wanted} jobs of {word}"


def read(url: str, stop: threading.Event, counts: Counter[str], seen: set[str], bad: list[str]) -> None:
    reader, start = requests.Session(), f"{url}/sites/production"
    while not stop.is_set():
        for path in (start, f"{start}/fragment"):
            page = reader.get(path, timeout=30)
            counts["pages"] += 1
            try:
                assert page.status_code == 200, f"{page.status_code} for {path}"
                word = one_word(page.text)
                whole(word, page.text.count("data-key=") - page.text.count('<a href="?sort'))
                assert path != start or page.text.rstrip().endswith("</html>"), "cut"
                seen.add(word)
                for kind in ("log", "graph"):
                    address = re.findall(rf'(?:href|src)="(/sites/production/(?:log|files)/[^"]*/{kind}-[^"]*)"', page.text)[0]
                    found = reader.get(url + address.replace("/log/", "/files/"), timeout=30)
                    counts["files" if found.ok else "files cleaned away"] += 1
                    assert found.status_code in (200, 404), f"{found.status_code} for {address}"
                    assert not found.ok or one_word(found.content.decode("latin-1")) == word, f"{address} is not of {word}"
                told = reader.get(f"{url}/api/v1/sites/production", timeout=30).text
                counts["API"] += 1
                whole(one_word(told), len(json.loads(told)["page"]["jobs"]))
            except AssertionError as problem:
                bad.append(str(problem))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--minutes", type=float, default=5)
    words.add_argument("--readers", type=int, default=2)
    given = words.parse_args()
    stop, written, counts, seen, bad = threading.Event(), [0], Counter[str](), set[str](), list[str]()
    with tempfile.TemporaryDirectory(prefix="dm-bench-") as temporary:
        home = Path(temporary) / "home"
        subprocess.run([sys.executable, str(ROOT / "bin/dm-config"), "init", str(home)], stdout=subprocess.DEVNULL, check=True)
        generations.publish(home / "dqm/public/production/live", files(0))
        public.says(home)
        argv = [sys.executable, str(ROOT / "bin/dqm-server"), "--port", "0", "--home", str(home)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = server.stdout.readline().partition("listening on ")[2].strip()
            threads = [threading.Thread(target=write, args=(home, stop, written))]
            threads += [threading.Thread(target=read, args=(url, stop, counts, seen, bad)) for _ in range(given.readers)]
            for thread in threads:
                thread.start()
            end = time.monotonic() + 60 * given.minutes
            while time.monotonic() < end and not bad:
                time.sleep(1)
            stop.set()
            for thread in threads:
                thread.join()
            server.terminate()
    told = ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items()))
    print(f"{written[0]:,} generations in {given.minutes:g} min; {told}; {len(seen):,} different pages seen; bad: {len(bad)}")
    for problem in bad[:10]:
        print(problem)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
