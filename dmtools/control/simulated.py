"""Where a simulator of this HOME answers: HOME/run/sim/NAME.json, as long as the process that wrote it lives."""

from __future__ import annotations

import json
from pathlib import Path


class NotRunning(Exception):
    """The simulator doesn't run: nobody is there, which is no wrong setting. The text says how it is started."""


def address(home: Path, name: str, command: str = "") -> tuple[str, str]:
    """(URL, token) of the simulator. `command`: what starts it, where that is not dm-sim NAME. Raises NotRunning."""
    path = home / "run" / "sim" / f"{name}.json"
    start = f"start it with: {command or f'dm-sim {name}'} --home {home}"
    try:
        found = json.loads(path.read_text("utf-8"))
        url, token, pid = str(found["url"]), str(found["token"]), int(found["pid"])
    except FileNotFoundError:
        raise NotRunning(f"the simulator {name} does not run; {start}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise NotRunning(f"{path} can't be read as a simulator's address; {start}") from None
    if not Path(f"/proc/{pid}").exists():
        raise NotRunning(f"the simulator {name} (pid {pid}) is gone; {start}")
    return url, token
