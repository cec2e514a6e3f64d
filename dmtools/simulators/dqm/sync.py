"""The protocol of /sync: headers are told as they change, documents are given when they are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from dmtools.simulators.dqm.store import Document, Store

CHUNK = 1000
Thin = Callable[[list[Document]], list[Document]]


def told(headers: list[Document]) -> Iterator[dict[str, Any]]:
    """The messages that tell of these headers, a thousand each."""
    for begin in range(0, len(headers), CHUNK):
        part = headers[begin : begin + CHUNK]
        yield {
            "event": "update_headers",
            "rev": [part[0]["_rev"], part[-1]["_rev"]],
            "sync_to_rev": headers[-1]["_rev"],
            "headers": part,
            "total_sent": begin + len(part),
            "total_avail": len(headers),
        }


def first_rev(store: Store, known: Any) -> int:
    """After which revision one who knows this one is told: at least one header comes, so that it sees it is up to date.

    One who knows a later revision than there is knew another server: it is told all.
    """
    if not isinstance(known, int) or known > store.rev:
        return 0
    return known - 1


def given(store: Store, ids: Any, thin: Thin) -> dict[str, Any]:
    """The message with these documents."""
    wanted = [one for one in ids if isinstance(one, str)] if isinstance(ids, list) else []
    return {"event": "update_documents", "documents": thin(store.documents(wanted))}


def by_proxy(store: Store, messages: list[str], thin: Thin) -> list[str]:
    """What a socket would answer to these messages. Raises ValueError at what is no message."""
    answers: list[dict[str, Any]] = []
    for text in messages:
        message = parsed(text)
        if message.get("event") == "sync_request":
            answers += told(store.headers(first_rev(store, message.get("known_rev"))))
        elif message.get("event") == "request_documents":
            answers.append(given(store, message.get("ids"), thin))
    return [json.dumps(answer) for answer in answers]


def parsed(text: Any) -> dict[str, Any]:
    """One message. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("a message is a text with JSON in it")
    message = json.loads(text)
    if not isinstance(message, dict):
        raise ValueError("a message is a JSON object")
    return message
