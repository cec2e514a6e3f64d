"""Runs a command: shared options, settings, ledger, the report; every failure becomes a sentence and an exit code."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dmtools import __version__
from dmtools.command.log import LogFile
from dmtools.command.report import Report, print_json

if TYPE_CHECKING:
    from dmtools.ledger import Ledger
    from dmtools.settings import Settings

PARTIAL, USAGE, UNAVAILABLE = 1, 2, 75
MISSING = (errno.ENOENT, errno.ENOTDIR)
WORLD = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE, errno.EMFILE, *MISSING)
STATE_CODES = {"partial": PARTIAL, "failed": PARTIAL, "unavailable": UNAVAILABLE}


class Refused(Exception):
    """Wrong use or configuration (exit 2): what, which and what to do, in a sentence; `left`: what was left as it was."""

    def __init__(self, why: str, left: str = "nothing was changed") -> None:
        super().__init__(why)
        self.left = left


class Unavailable(Exception):
    """The command could not run now (exit 75). `left` says what was left as it was, `next_step` what to do."""

    def __init__(self, what: str, subject: str, why: str, next_step: str, left: str = "nothing was changed") -> None:
        super().__init__(why)
        self.what, self.subject, self.why, self.next_step, self.left = what, subject, why, next_step, left


class Stopped(BaseException):
    """SIGINT or SIGTERM came: the work is handed back on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Context:
    """What a command gets: its options, the settings, the ledger (opened when first used) and the report it fills."""

    def __init__(self, name: str, pipeline: str, component: str, options: dict[str, Any]) -> None:
        self.name = name
        self.config: Path | None = options["config"]
        self.home_option: Path | None = options["home"]
        self.dry_run: bool = options["dry_run"]
        self.as_json: bool = options["as_json"]
        self.verbose: bool = options["verbose"]
        self.quiet: bool = options["quiet"]
        self.report = Report(pipeline, component, os.urandom(6).hex())
        self.closers: list[Callable[[], None]] = []
        self.answer: dict[str, Any] | None = None
        self._settings: Settings | None = None
        self._ledger: Ledger | None = None
        self._log: LogFile | None = None

    @property
    def settings(self) -> Settings:
        """The settings in force. Raises SettingsError."""
        if self._settings is None:
            from dmtools.settings import load  # the zipapp of lta's remote site has other ones

            self._settings = load(self.config, self.home_option)
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        """Others in their place, before anything has used them."""
        self._settings = settings

    @property
    def ledger(self) -> Ledger:
        """The open database. Raises LedgerUnavailable."""
        if self._ledger is None:
            from dmtools.ledger import open_ledger

            self._ledger = open_ledger(self.settings)
            self.closers.append(self._ledger.close)
        return self._ledger

    @property
    def home(self) -> Path:
        """HOME of the settings."""
        return self.settings.home

    def log(self, text: str) -> None:
        """A line in HOME/log, and on stderr with -v."""
        if self.verbose:
            click.echo(text, err=True)
        self._keep(text)

    def _keep(self, text: str) -> None:
        if self.dry_run or self._settings is None:
            return
        if self._log is None:
            self._log = LogFile(self.home / "log", self.name, self.settings.log)
        self._log.write(text)

    def turn_log(self) -> None:
        """The next line goes to the file of its time: a pass that goes on outlives its files."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def plan(self, text: str) -> None:
        """A step: printed by a dry run, logged by a real one; the same words in both."""
        if self.dry_run and not self.as_json:
            click.echo(text)
        self.log(text)

    def say(self, text: str) -> None:
        """A line for the person who asked: on stdout, but not beside JSON."""
        if not self.as_json and not self.quiet:
            click.echo(text)

    def problem(self, what: str, subject: str, *, why: str, left: str, next: str, failed: bool = True) -> None:
        """Keeps a problem for the report, which tells it at the end, and logs it."""
        self._keep(self.report.problem(what, subject, why=why, left=left, next=next, failed=failed).sentence())

    def close(self) -> None:
        """Hands back what is held, last first."""
        while self.closers:
            self.closers.pop()()


PATH = click.Path(path_type=Path)


class Command(click.Command):
    """Wrong use is told as click tells it; with --json, stdout gets its object all the same."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Runs the command and ends the process."""
        words = sys.argv[1:] if args is None else list(args)
        try:
            code = super().main(words, *rest, **{**extra, "standalone_mode": False})
        except click.ClickException as problem:
            problem.show()
            if "--json" in words:
                pipeline, _, component = (self.name or "").partition("-")
                report = Report(pipeline, component, os.urandom(6).hex(), state="failed")
                text = problem.format_message()
                report.problem("refused", self.name or "", why=text, left="nothing was changed", next=f"see {self.name} --help")
                print_json(report.record())
            sys.exit(problem.exit_code)
        except click.Abort:
            sys.exit(130)
        sys.exit(code if isinstance(code, int) else 0)


def shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command, contract section 2."""
    options = (
        click.option("--config", type=PATH, help="The settings file; else $DMTOOLS_CONFIG or HOME/dmtools.toml."),
        click.option("--home", type=PATH, help="HOME of this installation; else $DMTOOLS_HOME."),
        click.option("--dry-run", is_flag=True, help="Print the plan; change nothing."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
        click.option("-v", "--verbose", is_flag=True, help="Say each step on stderr."),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
        click.version_option(__version__, prog_name="dmtools"),
    )
    for option in reversed(options):
        function = option(function)
    return function


def tool(
    name: str,
    *,
    pipeline: str = "dm",
    component: str = "",
    example: str,
    cron: str = "",
    body: Callable[[Context, Callable[[], None]], None] | None = None,
) -> Callable[[Callable[..., None]], click.Command]:
    """Makes a click command of `function(context, **own options)`; `body` runs around it (the gate of a pass)."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def call(**values: Any) -> None:
            shared = {key: values.pop(key) for key in ("config", "home", "dry_run", "as_json", "verbose", "quiet")}
            context = Context(name, pipeline, component or name.partition("-")[2], shared)
            step = functools.partial(function, context, **values)
            _leave(_guarded(context, step if body is None else functools.partial(body, context, step)))

        epilog = f"\b\nExample:\n  {example}\n\b\nCron:\n  {cron or 'none: it is run by hand'}"
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        return click.command(name, cls=Command, epilog=epilog, context_settings=settings)(shared_options(call))

    return decorate


def _leave(code: int) -> NoReturn:
    """Ends the process at once: all is closed and flushed, and clearing the interpreter costs 5 % of a pass without work."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or PARTIAL
    os._exit(code)


def _guarded(context: Context, step: Callable[[], None]) -> int:
    _listen()
    report = context.report
    code: int | None = None
    try:
        try:
            step()
        finally:
            context.close()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except (click.exceptions.Exit, click.UsageError):
        raise
    except BaseException as problem:  # noqa: BLE001 - the last line of defence: a sentence, never a traceback
        code = tell(context, problem)
    report.settle()
    try:
        _print(context)
    except OSError as problem:  # the reader of our stdout is gone, or its disk is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = code or (0 if isinstance(problem, BrokenPipeError) else UNAVAILABLE)
    return _code(report) if code is None else code


def _code(report: Report) -> int:
    """By its state; items that failed are told by the code under a hold, too."""
    under_hold = report.state in ("draining", "halted") and report.some_failed()
    return PARTIAL if under_hold else STATE_CODES.get(report.state, 0)


def tell(context: Context, problem: BaseException) -> int:
    """An exception -> a problem of the report, its state and the exit code."""
    report = context.report
    if isinstance(problem, Stopped):
        report.state, report.stopped = "partial", True
        return 128 + problem.number
    if isinstance(problem, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    if isinstance(problem, Refused):
        report.problem("refused", context.name, why=str(problem), left=problem.left, next=f"see {context.name} --help")
        report.state = "failed"
        return USAGE
    if isinstance(problem, Unavailable):
        report.problem(problem.what, problem.subject, why=problem.why, left=problem.left, next=problem.next_step)
        report.state = "unavailable"
        return UNAVAILABLE
    return _tell_rare(context, problem)


def _is(problem: BaseException, module: str, name: str) -> bool:
    """Is it of this class? What was never loaded raised nothing: it isn't loaded for the question."""
    return module in sys.modules and isinstance(problem, getattr(sys.modules[module], name))


def _tell_settings(context: Context, problem: Any) -> int:
    report, left = context.report, "nothing was changed"
    if _is(problem, "dmtools.settings", "HomeMissing"):
        for text in problem.problems:
            what, _, step = text.partition("; ")
            report.problem("no HOME", str(problem.file), why=what, left=left, next=step or "make one with dm-config init")
        report.state = "unavailable"
        return UNAVAILABLE
    for text in problem.problems:
        step = "mend it, then: dm-config check"
        report.problem("wrong settings", str(problem.file or ""), why=text, left=left, next=step)
    report.state = "failed"
    return USAGE


def _tell_rare(context: Context, problem: BaseException) -> int:
    if _is(problem, "dmtools.settings", "SettingsError"):
        return _tell_settings(context, problem)
    report = context.report
    kept = "what was booked before stays booked; the next pass goes on from there"
    if _is(problem, "dmtools.ledger.engine", "LedgerUnavailable"):
        step = getattr(problem, "next_step")  # noqa: B009 - mypy doesn't know the class
        report.problem("no database", context.name, why=str(problem), left=kept, next=step)
        report.state = "unavailable"
        return UNAVAILABLE
    if isinstance(problem, OSError) and problem.errno in WORLD:
        home = context._settings.home if context._settings else "HOME"
        what = "missing" if problem.errno in MISSING else "can't use"
        advice = _os_advice(problem.errno, home)
        report.problem(what, str(problem.filename or home), why=problem.strerror or str(problem), left=kept, next=advice)
        report.state = "unavailable"
        return UNAVAILABLE
    import traceback

    context.log("internal error:")
    if context._log is not None:
        context._log.write_block("".join(traceback.format_exception(problem)))
    elif os.environ.get("DMTOOLS_DEBUG"):
        traceback.print_exception(problem)
    where = str(context._log.path) if context._log else "(no log: run again with DMTOOLS_DEBUG=1)"
    why = f"{type(problem).__name__}: {problem}"
    report.problem("internal error", context.name, why=why, left=kept, next=f"please report it with {where}")
    report.state = "failed"
    return PARTIAL


def _os_advice(number: int | None, home: object) -> str:
    if number in MISSING:
        return f"put it back; dm-config init {home} makes the directories that are missing"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "make room on that disk or raise the quota"
    if number == errno.EIO:
        return "look at that disk: it reports errors"
    return "check owner, mode and mount of that path"


def _print(context: Context) -> None:
    report = context.report
    if context.as_json:
        answers = context.answer is not None and report.state not in ("unavailable", "failed")
        print_json(context.answer if answers and context.answer is not None else report.record())
    elif context.answer is None and not context.quiet and (context.verbose or sys.stdout.isatty() or context.dry_run):
        click.echo(f"{context.name}: dry run, nothing was changed" if context.dry_run else report.summary())
    for line in report.lines(context.name):
        click.echo(line, err=True)
    sys.stdout.flush()


def _listen() -> None:
    def stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # handing back is short; who is in a hurry has ^C again, or SIGKILL
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise Stopped(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
