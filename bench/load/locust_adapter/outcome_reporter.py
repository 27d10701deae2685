"""What a Locust process prints of its tests, and the exit code that they give it."""

import logging
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locust import log

from bench.core.errors import BenchError, WrongAnswerError, exit_code_of, one_line
from bench.core.output import legible
from bench.load.locust_adapter.locust_stages import Stages
from bench.load.locust_adapter.options import UnchosenCode

if TYPE_CHECKING:
    from bench.load.setup.run_outcome import RunOutcome

logger = logging.getLogger(__name__)


class OutcomeReporter:
    """Prints where the user looks: the console, or the log, which the web page shows.

    Args:
        environment: Locust's.
        stages: what signals do.
    """

    def __init__(self, environment: Any, stages: Stages) -> None:
        self._environment = environment
        self._options = environment.parsed_options
        self._stages = stages
        self._last: RunOutcome | None = None
        # Printing Locust's JSON empties its statistics, so the file would be empty: the file is printed instead.
        self._json_of_file = bool(self._options.json and self._options.json_file)
        self._options.json = self._options.json and not self._json_of_file

    def finished(self, outcome: "RunOutcome", path: Path, names: Collection[tuple[str, str]]) -> None:
        """Takes the outcome of a stored run; without the web page it is printed after Locust's tables.

        Args:
            outcome: of the run.
            path: its folder.
            names: method and name of the run's requests in Locust's statistics.
        """
        self._last = outcome
        self._stages.note = f"what was measured is in {path}"
        code = int(outcome.exit_code)
        chosen = self._options.exit_code_on_error
        if outcome.failed and not isinstance(chosen, UnchosenCode):
            code = chosen or int(outcome.verdict_code)
        if code:
            self._environment.process_exit_code = code
        elif not self._environment.process_exit_code:
            # Without a code of ours Locust takes its own for any failed request, also for those that are allowed.
            self._environment.process_exit_code = 0 if self._only_failed(names) else None
        if not self._options.headless:
            self._print_outcome(outcome, logger.info)

    def _only_failed(self, names: Collection[tuple[str, str]]) -> bool:
        """Whether nothing but requests of these names failed in this process: no user, and no request of others."""
        runner = self._environment.runner
        failed = {(error.method, error.name) for error in runner.errors.values()}
        return failed <= set(names) and not runner.exceptions and not log.unhandled_greenlet_exception

    def exit_code(self, error: BenchError | OSError) -> int:
        """The exit code of a test that did not take place: of wrong answers the user's own, if it is not 0."""
        chosen = self._options.exit_code_on_error
        if isinstance(error, WrongAnswerError) and not isinstance(chosen, UnchosenCode) and chosen:
            return int(chosen)
        return int(exit_code_of(error))

    def failed(self, error: BenchError | OSError) -> None:
        """Prints why a test ended, or did not start; in a web session that alone changes no exit code."""
        if self._options.headless or self._options.autostart:
            self._environment.process_exit_code = self.exit_code(error)
        self._print_error(one_line(error))

    def print_last(self) -> None:
        """Prints the outcome of a process without a web page, after Locust's tables."""
        if self._json_of_file:
            print(Path(f"{self._options.json_file}.json").read_text())
        if self._last is not None and self._options.headless:
            # With --json, standard output holds nothing but Locust's JSON.
            stream = sys.stderr if self._options.json or self._json_of_file else sys.stdout
            self._print_outcome(self._last, partial(print, file=stream))

    def _print_outcome(self, outcome: "RunOutcome", write: Callable[[str], None]) -> None:
        for line in outcome.lines:
            write(legible(line))
        sys.stdout.flush()
        if outcome.error and self._stages.number is None:
            self._print_error(legible(outcome.error))

    def _print_error(self, line: str) -> None:
        if self._environment.web_ui is None:
            print(f"bertbench: {line}", file=sys.stderr)
        else:
            logger.error("bertbench: %s", line)
