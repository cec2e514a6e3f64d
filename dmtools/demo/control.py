"""The control room in the demo: the commands of shifters and of nagios, as they are typed, and what they answer."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping

from dmtools.demo.display import Display
from dmtools.demo.proof import Check

TYPED = "bold"
SECONDS = 60


def typed(display: Display, env: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a command as a person does, and shows it with its answer."""
    display.say("$ " + " ".join(f"'{word}'" if " " in word else word for word in words), TYPED)
    done = _run(env, *words)
    for line in (done.stdout + done.stderr).splitlines():
        cut = line.partition("|")[0] if words[0] == "dm-train-ok" else line  # behind the bar nagios has its numbers
        display.say(f"  {cut.rstrip()}")
    return done


def nagios(display: Display, env: Mapping[str, str]) -> Check:
    """dm-train-ok at the end: files that can't arrive need a person, all else is well."""
    done = typed(display, env, "dm-train-ok")
    verdict = done.stdout.partition("\n")[0]
    right = done.returncode == 1 and "WARNING" in verdict and "Bad" in verdict
    return Check("nagios is told that some files need a person, by a WARNING", [] if right else [f"{done.returncode}: {verdict}"])


def shifter(display: Display, env: Mapping[str, str], lfn: str) -> Check:
    """dm-trace of a file that can't arrive: why, and what to do."""
    typed(display, env, "dm-trace", lfn)
    found = json.loads(_run(env, "dm-trace", lfn, "--json").stdout or "{}")
    right = found.get("state") == "Bad" and found.get("why") and found.get("history")
    return Check(f"dm-trace {lfn} says why it is Bad", [] if right else [f"it says {found}"])


def _run(env: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*words], env=dict(env), capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False)
