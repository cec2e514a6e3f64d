"""The name that a file has between the two acts of its deletion; a delete that was killed leaves it there."""

from __future__ import annotations

import hashlib
import os
import re

ASIDE = re.compile(rb"\.dm-del-[0-9]+")


def aside_of(path: bytes) -> bytes:
    """That name, beside the file."""
    directory, name = os.path.split(path)
    return os.path.join(directory, b".dm-del-%d" % int.from_bytes(hashlib.sha256(name).digest()[:7]))
