"""The root of the project's exceptions, and the exit codes they lead to.

    BenchError
    ├── UsageError          exit 2: bad input or options
    ├── WrongAnswerError    exit 1: an answer differs from the Estimator's
    ├── InconclusiveError   exit 3: no verdict can be given
    └── TargetError         exit 4: the target failed or does not answer
        └── bench.serving.errors.ServingError and below

A message is one line: what went wrong, then what to do next.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command."""

    GOOD = 0
    REGRESSION = 1
    USAGE = 2
    INCONCLUSIVE = 3
    TARGET_FAILED = 4


class BenchError(Exception):
    """An error that a user can act on; `str(error)` is the one line printed on stderr."""

    exit_code = ExitCode.USAGE


class UsageError(BenchError):
    """Bad input or options."""


class WrongAnswerError(BenchError):
    """Answers that differ from the in-process Estimator's."""

    exit_code = ExitCode.REGRESSION


class InconclusiveError(BenchError):
    """The data do not allow a verdict."""

    exit_code = ExitCode.INCONCLUSIVE


class TargetError(BenchError):
    """The system under test failed or does not answer."""

    exit_code = ExitCode.TARGET_FAILED
