"""What every command shares: options, exit codes, the report it prints, its log, and how it stops."""

from dmtools.command import completing
from dmtools.command.report import Problem, Report
from dmtools.command.run import PARTIAL, UNAVAILABLE, USAGE, Context, Refused, Unavailable, tool

__all__ = ["PARTIAL", "UNAVAILABLE", "USAGE", "Context", "Problem", "Refused", "Report", "Unavailable", "completing", "tool"]
