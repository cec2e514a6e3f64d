"""A user's crontab, read and written by the machine's own command `crontab`, never by its file."""

from __future__ import annotations

import os
import pwd
import subprocess

from dmtools.command.run import Refused, Unavailable

SECONDS = 30


class CrontabOf:
    """The crontab of one user; texts keep every byte (surrogateescape)."""

    def __init__(self, user: str | None = None) -> None:
        """`user` None: who runs this. Raises Refused for somebody else's without being root."""
        try:
            mine = pwd.getpwuid(os.geteuid())
        except KeyError:
            raise Refused(f"the user {os.geteuid()} has no name on this machine, so cron keeps no crontab for it") from None
        try:
            self.entry = pwd.getpwnam(user) if user else mine
        except KeyError:
            raise Refused(f"there is no user {user!r} on this machine") from None
        if self.entry.pw_uid != mine.pw_uid and mine.pw_uid != 0:
            raise Refused(
                f"the crontab of {self.entry.pw_name} belongs to somebody else; only root may touch it: sudo dm-crontab -u"
            )
        self._whose = ["-u", self.entry.pw_name] if mine.pw_uid == 0 and user else []

    @property
    def user(self) -> str:
        """Whose it is."""
        return str(self.entry.pw_name)

    def read(self) -> str:
        """The whole text; empty when there is none. Raises Unavailable."""
        done = self._crontab("-l")
        if done.returncode != 0:
            if b"no crontab for" in done.stderr:
                return ""
            raise self._refused("can't read", done)
        if b"\\r" in done.stdout:  # Debian's -l shows a carriage return so; an editor gets the text as it is
            done = self._crontab("-e", VISUAL="cat", EDITOR="cat")
            if done.returncode != 0:
                raise self._refused("can't read", done)
        return done.stdout.decode("utf-8", "surrogateescape")

    def write(self, text: str) -> None:
        """Installs the text, or takes the crontab away when the text is empty; proved by reading. Raises Unavailable."""
        done = self._crontab("-", text=text) if text else self._crontab("-r")
        if done.returncode != 0:
            raise self._refused("can't write", done)
        if self.read() != text:
            raise Unavailable("can't write", f"the crontab of {self.user}", "it reads back otherwise", "look at it: crontab -l")

    def proof(self, text: str) -> str:
        """Why cron would refuse the text; empty when it takes it, or when this machine's crontab has no dry run."""
        if not text:
            return ""
        done = self._crontab("-n", "-", text=text)
        said = done.stderr.decode("utf-8", "replace")
        if done.returncode == 0 or "invalid option" in said or "unrecognized option" in said or "usage" in said.lower():
            return ""
        return " ".join(said.split())

    def _crontab(self, *words: str, text: str | None = None, **variables: str) -> subprocess.CompletedProcess[bytes]:
        env = {**os.environ, "LC_ALL": "C", "CRONTAB_NOHEADER": "Y", **variables}
        given = None if text is None else text.encode("utf-8", "surrogateescape")
        try:
            return subprocess.run(
                ["crontab", *self._whose, *words], input=given or b"", capture_output=True, env=env, timeout=SECONDS, check=False
            )
        except FileNotFoundError:
            step = "install cron (Debian: apt-get install cron); dm-crontab show prints the lines for another scheduler"
            raise Unavailable("no crontab", "crontab", "this machine has no command crontab", step) from None
        except subprocess.TimeoutExpired:
            step = "look at this machine's cron"
            raise Unavailable("no crontab", "crontab", f"it did not answer within {SECONDS} s", step) from None

    def _refused(self, what: str, done: subprocess.CompletedProcess[bytes]) -> Unavailable:
        said = " ".join(done.stderr.decode("utf-8", "replace").split()) or f"crontab ended with {done.returncode}"
        return Unavailable(
            what, f"the crontab of {self.user}", said, "ask who runs this machine: /etc/cron.allow, /etc/cron.deny"
        )
