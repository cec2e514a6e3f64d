"""Tokens as MetaCat's client takes them: JWT, signed by HS256. Made by hand, for what makes them elsewhere is the client's."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time

HEAD = {"alg": "HS256", "typ": "JWT"}


def make(secret: str, user: str, seconds: float) -> str:
    """A token of this user that lives so long; less than nothing: one that is over."""
    now = time.time()
    body = f"{_encoded(HEAD)}.{_encoded({'sub': user, 'iat': now, 'nbf': min(now, now + seconds), 'exp': now + seconds})}"
    return f"{body}.{_signature(secret, body)}"


def user_of(secret: str, token: str) -> str | None:
    """Whose token it is; None when it is not ours or its time is over."""
    body, _, signature = token.strip().rpartition(".")
    if not hmac.compare_digest(signature.encode(), _signature(secret, body).encode()):
        return None
    try:
        part = body.partition(".")[2]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return str(found["sub"]) if float(found["exp"]) > time.time() else None
    except (ValueError, KeyError, TypeError, binascii.Error):
        return None


def _encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _signature(secret: str, body: str) -> str:
    digest = hmac.new(secret.encode(), body.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
