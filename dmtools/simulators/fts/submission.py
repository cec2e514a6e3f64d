"""The body of POST /jobs -> rows of a job and its files, with FTS3's defaults and its texts for what is wrong."""

from __future__ import annotations

import random
import re
import socket
import uuid
from typing import Any

import msgspec
from msgspec import Struct

from dmtools.simulators.fts.model import BASE_ID, Refused, User, epoch, now_text

_METADATA_LIMIT = 1024
_URL = re.compile(r"^(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?", re.DOTALL)
_DEFAULTS: dict[str, Any] = {
    "bring_online": -1,
    "verify_checksum": False,
    "copy_pin_lifetime": -1,
    "archive_timeout": -1,
    "retry": 0,
    "retry_delay": 0,
    "priority": 3,
    "max_time_in_queue": 0,
}
_WIDTHS = {"source_surl": 1100, "dest_surl": 1100, "source_se": 255, "dest_se": 255, "activity": 255, "checksum": 100}
_HOST = socket.gethostname()


class Submission(Struct):
    """A job that may be stored: its row, its files' rows (without ids), the sid that its id comes from."""

    job: dict[str, Any]
    files: list[dict[str, Any]]
    sid: str | None


def build(body: Any, user: User, method: str, check_duplicates: bool) -> Submission:
    """Checked rows of a submission. Raises Refused with the code and text of the real server."""
    if not isinstance(body, dict):
        raise Refused(400, "Expecting a dictionary")
    if body.get("delete"):
        raise Refused(405, "Deletion jobs are no longer supported by FTS")
    if body.get("files") is None:
        raise Refused(400, "No transfers operations specified")
    given = body.get("params") or {}
    try:
        params = {**_DEFAULTS, **{key: value for key, value in given.items() if value is not None}}
        return _build(params, body["files"], user, method, check_duplicates)
    except KeyError as problem:
        raise Refused(400, f"Missing parameter: {problem}") from None
    except ValueError as problem:
        raise Refused(400, f"Invalid value within the request: {problem}") from None
    except (TypeError, AttributeError) as problem:
        raise Refused(400, f"Malformed request: {problem}") from None


def _build(params: dict[str, Any], entries: Any, user: User, method: str, check_duplicates: bool) -> Submission:
    sid = params.get("sid")
    job_id = _job_id(params, user)
    multihop = flag(params.get("multihop"))
    staging = _int(params["copy_pin_lifetime"]) > 0 or _int(params["bring_online"]) > 0
    overwrite = _overwrite(params, multihop)
    first = "STAGING" if staging else "SUBMITTED"
    priority = max(1, min(5, int(params["priority"])))
    files: list[dict[str, Any]] = []
    for index, entry in enumerate(entries):
        files += _pairs(entry, index, first, multihop, priority, check_duplicates)
    if not files:
        raise Refused(400, "No valid pairs available")
    if multihop:
        files[0]["file_state"] = first
    replicas = len({row["file_index"] for row in files}) != len(files)
    if replicas and multihop:
        raise Refused(400, "Can not request multiple replica job together with multihop or session reuse at the same time")
    if replicas and len({row["file_index"] for row in files}) > 1:
        raise Refused(400, "Multiple replica jobs must only have one unique file")
    if replicas:
        files[0]["file_state"] = first
    if overwrite in ("D", "Q") and not files[-1]["dest_surl"].startswith(("https://", "davs://")):
        raise Refused(400, "'overwrite-when-only-on-disk' requires destination to be HTTPs endpoint (Tape REST API required)")
    metadata = _metadata(params.get("job_metadata"), "job") or {}
    metadata["auth_method"] = method
    job = {
        "job_id": job_id,
        "job_state": first,
        "job_type": "R" if replicas else "H" if multihop else "Y" if flag(params.get("reuse")) else "N",
        "verify_checksum": _mode(params["verify_checksum"], files),
        "submit_host": _HOST,
        "internal_job_params": _internal(params),
        "user_dn": user.dn,
        "cred_id": user.delegation_id,
        "vo_name": user.vo,
        "dst_file_report": int(flag(params.get("dst_file_report"))),
        "job_metadata": msgspec.json.encode(metadata).decode(),
        "overwrite_flag": overwrite,
        "retry": int(params["retry"]),
        "retry_delay": int(params["retry_delay"]),
        "source_se": _common(files, "source_se", multihop, 0),
        "dest_se": _common(files, "dest_se", multihop, -1),
        "copy_pin_lifetime": _int(params["copy_pin_lifetime"]),
        "bring_online": _int(params["bring_online"]),
        "archive_timeout": _int(params["archive_timeout"]),
        "source_spacetoken": params.get("source_spacetoken"),
        "destination_spacetoken": params.get("destination_spacetoken"),
        "target_qos": params.get("target_qos"),
        "submit_time": now_text(),
        "priority": priority,
        "cancel_job": 0,
        "max_time_in_queue": _expiry(params["max_time_in_queue"]),
    }
    return Submission(job, files, None if sid is None else str(sid))


def _job_id(params: dict[str, Any], user: User) -> str:
    if params.get("id_generator", "standard") != "deterministic":
        return str(uuid.uuid1())
    if not params.get("sid"):
        raise Refused(400, "Need sid for deterministic job id generation")
    return str(uuid.uuid5(user.vo_id, str(params["sid"])))


def _pairs(
    entry: dict[str, Any], index: int, first: str, multihop: bool, priority: int, check_duplicates: bool
) -> list[dict[str, Any]]:
    sources, destinations = entry["sources"], entry["destinations"]
    if not isinstance(sources, list) or not isinstance(destinations, list):
        raise TypeError("sources and destinations must be lists")
    many = len(sources) > 1
    size = entry.get("filesize") or 0
    tags = {
        "file_index": index,
        "file_state": "NOT_USED" if many or multihop else first,
        "priority": priority,
        "user_filesize": int(float(size)),
        "selection_strategy": entry.get("selection_strategy", "auto"),
        "checksum": entry.get("checksum"),
        "file_metadata": _json(_metadata(entry.get("metadata"), "file")),
        "staging_metadata": _json(_metadata(entry.get("staging_metadata"), "Staging")),
        "archive_metadata": _json(_metadata(entry.get("archive_metadata"), "Archive")),
        "activity": entry.get("activity") or "default",
        "scitag": _scitag(entry.get("scitag")),
        "hashed_id": random.getrandbits(16),
        "retry": 0,
    }
    rows = []
    for source, source_se in map(_surl, sources):
        for destination, dest_se in map(_surl, destinations):
            row = dict(tags, source_surl=source, dest_surl=destination, source_se=source_se, dest_se=dest_se)
            for key, width in _WIDTHS.items():
                if row[key] is not None and len(row[key]) > width:
                    raise Refused(500, f"Data too long for column '{key}'")
            row["dest_surl_uuid"] = str(uuid.uuid5(BASE_ID, destination)) if check_duplicates and not many else None
            rows.append(row)
    return rows


def _surl(raw: str) -> tuple[str, str]:
    """A checked URL and its storage element: scheme and host without the port."""
    url = raw.strip()
    match = _URL.match(url)
    assert match
    scheme, authority, path, query = match.groups()
    if not scheme:
        raise ValueError(f"Missing scheme ({url})")
    if not path or (path == "/" and not query):
        raise ValueError(f"Missing path ({url})")
    if scheme.lower() == "file":
        if authority not in ("", None, "localhost") or not path.startswith("/"):
            raise ValueError(f"Can not transfer local files ({url})")
        return url, "file://localhost"
    host = re.sub(r":\d*$", "", (authority or "").rpartition("@")[2]).lower()
    if not host:
        raise ValueError(f"Missing host ({url})")
    return url, f"{scheme.lower()}://{host}"


def _mode(given: Any, files: list[dict[str, Any]]) -> str:
    """One letter: n, s, t or b. A checksum without a mode means target, as the real server has it."""
    some = any(row["checksum"] for row in files)
    for row in files:
        row["checksum"] = row["checksum"] or "ADLER32"
    if isinstance(given, bool):
        return "b" if given else "t" if some else "n"
    return str(given[:1]) or "n"


def _overwrite(params: dict[str, Any], multihop: bool) -> str | None:
    names = ("overwrite", "overwrite_on_retry", "overwrite_when_only_on_disk", "overwrite_hop")
    chosen = [flag(params.get(name)) for name in names]
    if sum(chosen) > 1 and chosen != [False, False, True, True]:
        raise Refused(400, "Incompatible overwrite flags used at the same time")
    if chosen[2] and _int(params["archive_timeout"]) <= 0:
        raise Refused(400, "'overwrite-when-only-on-disk' requires 'archive-timeout' to be set")
    if chosen[3] and not multihop:
        raise Refused(400, "'overwrite-hop' requires multihop job submission")
    if chosen[2] and chosen[3]:
        return "Q"
    return next((letter for letter, set_ in zip("YRDM", chosen, strict=True) if set_), None)


def _internal(params: dict[str, Any]) -> str | None:
    named = (("nostreams", "nostreams"), ("timeout", "timeout"), ("buffer_size", "buffersize"))
    parts = [f"{shown}:{int(params[key])}" for key, shown in named if params.get(key)]
    switches = (("strict_copy", "strict"), ("disable_cleanup", "disable-cleanup"), ("ipv4", "ipv4"), ("ipv6", "ipv6"))
    parts += [shown for key, shown in switches if params.get(key)]
    parts += ["s3alternate"] if params.get("s3alternate") else []
    return ",".join(parts) or None


def _common(files: list[dict[str, Any]], key: str, multihop: bool, place: int) -> str | None:
    found = {row[key] for row in files}
    return str(files[place][key]) if multihop or len(found) == 1 else None


def _metadata(value: Any, what: str) -> dict[str, Any] | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = {"label": value}
    if not isinstance(value, dict):
        raise ValueError(f"{what} metadata must be a dictionary or a string")
    if len(msgspec.json.encode(value)) > _METADATA_LIMIT:
        raise ValueError(f"Job Submission Refused, metadata exceeds size limit of {_METADATA_LIMIT}")
    return dict(value)


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _scitag(value: Any) -> int | None:
    if value is None:
        return None
    if not 65 <= int(value) <= 65535:
        raise ValueError(f"Invalid SciTag value: {value} (not in [65, 65535] range)")
    return int(value)


def flag(value: Any) -> bool:
    """FTS3's flags: true, 1 or a text that begins with Y."""
    return value[:1].upper() == "Y" if isinstance(value, str) else bool(value)


def _int(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return -1


def _expiry(value: Any) -> int | None:
    """max_time_in_queue (hours, or with a suffix s, m, h, d) -> the epoch second at which the job is given up."""
    if isinstance(value, int) and not isinstance(value, bool) and value:
        return int(epoch()) + value * 3600
    match = re.fullmatch(r"(\d+)([smhd])", value.lower()) if isinstance(value, str) else None
    if not match:
        return None
    return int(epoch()) + int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
