"""What a person types -> how the tables may have it."""

from __future__ import annotations

import os
import re

from dmtools import names

_ENCODED = re.compile(r"(?:[!-$&-~]|%[0-9A-F]{2})+")


def spellings(text: str) -> tuple[str, ...]:
    """Of a name or a part of one: its raw bytes, encoded; and the text itself when it can be an encoded name already.

    A lone % is a letter like any other.
    """
    encoded = names.encode(os.fsencode(text))
    return (encoded, text) if encoded != text and _ENCODED.fullmatch(text) else (encoded,)
