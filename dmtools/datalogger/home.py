"""datalogger's part of a HOME: its id, the directories, the devices that are logged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from dmtools.command.run import Refused
from dmtools.control.passes import Pass
from dmtools.settings import Settings
from dmtools.settings.datalogger import Device
from dmtools.spool import folders


@dataclass(frozen=True)
class Home:
    """HOME/datalogger: its id, where files are drafted and where they go, the logger's time zone."""

    id: str
    draft: Path
    out: Path
    zone: ZoneInfo

    @classmethod
    def of(cls, this: Pass, draft: Path | None = None, out: Path | None = None) -> Home:
        """The HOME of this pass, or with other directories; a draft directory that isn't there is made, but not by a dry run."""
        found = this.settings.datalogger
        drafts, files = draft or this.settings.path(found.draft), out or this.settings.path(found.out)
        if not this.dry_run:
            drafts.mkdir(exist_ok=True, mode=0o750)  # not `out`, which may be a mount that is away
        return cls(folders.id_for(this.home, dry_run=this.dry_run), drafts, files, ZoneInfo(found.timezone))


def devices(settings: Settings, paramfile: Path | None = None, logger: str = "") -> dict[str, Device]:
    """What is logged, by name: of the file of lines `node device [hertz [units]]`, else of the settings. Raises Refused.

    `logger`: the node of all of them, whatever their lines say.
    """
    found = settings.datalogger
    path = paramfile or (settings.path(found.paramfile) if found.paramfile else None)
    listed = list(found.devices) if path is None else _of_file(path)
    named: dict[str, Device] = {}
    for device in listed:
        if device.name in named:
            raise Refused(f"{path or '[datalogger] devices'} names {device.name} twice; a device has one table: take one out")
        named[device.name] = msgspec.structs.replace(device, node=logger) if logger else device
    if not named:
        raise Refused(f"{path or '[datalogger] devices'} names no device; write lines `node device`, as: MLrn B:VIMIN")
    return named


def events(codes: Sequence[str]) -> dict[str, Device]:
    """Events of two hex digits, by name; none given: all there are. How often they come is not known."""
    return {code: Device(name=code, node="", hertz=0.0) for code in codes or [f"{number:02x}" for number in range(256)]}


def _of_file(path: Path) -> list[Device]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is no UTF-8"
        raise Refused(f"the parameter file {path} can't be read: {why}") from None
    return [_of_line(path, number, line) for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*[^#\s]", line)]


def _of_line(path: Path, number: int, line: str) -> Device:
    node, *rest = line.partition("#")[0].split()
    keys = dict(zip(("name", "hertz", "units"), [*rest[:2], " ".join(rest[2:])], strict=False))
    try:
        if not rest:
            raise ValueError("it lacks the device")
        hertz = {"hertz": float(keys["hertz"])} if len(rest) > 1 else {}
        return msgspec.convert({"name": rest[0], "node": node, "units": keys.get("units", ""), **hertz}, Device)
    except (ValueError, msgspec.ValidationError) as problem:
        text = f"{path}, line {number}: {line.strip()!r} is not `node device [hertz [units]]`: {problem}"
        raise Refused(f"{text}; write it as: MLrn B:VIMIN 15 A") from None
