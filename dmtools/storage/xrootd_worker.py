"""Stat and checksum of many XRootD files in one process, by the Python bindings; run as a script, never imported.

Reads one JSON object from stdin: {"seconds", "threads", "checksums", "checksum", "files": [[number, endpoint, path], ...]}.
Writes one JSON line a file: [number, size, flags, checksum or null, null] or [number, null, null, null, message].
It is a process of its own so that a hang in the library can be ended; it must run on any Python 3 that has XRootD.
"""

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def main() -> None:
    """Asks for all files, several at once; a server that doesn't answer is not asked again."""
    from XRootD import client
    from XRootD.client.flags import QueryCode

    work = json.load(sys.stdin)
    seconds = max(1, int(work["seconds"]))
    systems = {endpoint: client.FileSystem(endpoint) for _, endpoint, _ in work["files"]}
    away: Any = {}
    writing = threading.Lock()
    reading = threading.Semaphore(work["checksums"])

    def failed(endpoint: str, status: Any) -> Any:
        message = status.message.strip()
        if status.code != 400:  # no answer of a server: it is away, or the client can't reach it
            away[endpoint] = message
        return [None, None, None, message]

    def ask(endpoint: str, path: str) -> Any:
        if endpoint in away:
            return [None, None, None, away[endpoint]]
        system = systems[endpoint]
        status, found = system.stat(path, timeout=seconds)
        if not status.ok:
            return failed(endpoint, status)
        checksum = None
        if work["checksum"] and not found.flags & 6:
            with reading:
                status, answer = system.query(QueryCode.CHECKSUM, path + "?cks.type=adler32", timeout=seconds)
            if not status.ok:
                return failed(endpoint, status)
            checksum = answer.decode("ascii", "replace").strip("\0 \n")
        return [found.size, found.flags, checksum, None]

    def one(item: Any) -> None:
        number, endpoint, path = item
        line = json.dumps([number, *ask(endpoint, path)])
        with writing:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    with ThreadPoolExecutor(work["threads"]) as pool:
        list(pool.map(one, work["files"]))


if __name__ == "__main__":
    main()
    os._exit(0)  # the library's own end can hang
