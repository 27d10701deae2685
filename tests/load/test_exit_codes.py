"""The exit code of a Locust process: what the run's requests and objectives say, and what Locust makes of it."""

import json
import subprocess
import sys

# In a process of its own, since Locust's import patches the standard library. `final` decides as Locust's main does.
_CODE = """
import json
from pathlib import Path
from types import SimpleNamespace

from bench.core.errors import ExitCode
from bench.load.locust_adapter.options import UnchosenCode
from bench.load.locust_adapter.outcome_reporter import OutcomeReporter
from bench.load.setup.run_outcome import RunOutcome
from bench.objectives.verdicts import Verdict

OURS, OTHERS = ("POST", "ours"), ("GET", "others")

def final(code, chosen, errors=(), failed=False, verdict=None, exceptions=(), earlier=None):
    options = SimpleNamespace(json=False, json_file=None, headless=True, exit_code_on_error=chosen)
    found = {index: SimpleNamespace(method=method, name=name) for index, (method, name) in enumerate(errors)}
    runner = SimpleNamespace(errors=found, exceptions=exceptions)
    environment = SimpleNamespace(parsed_options=options, runner=runner, process_exit_code=earlier, web_ui=None)
    reporter = OutcomeReporter(environment, SimpleNamespace(number=None, note=""))
    objectives = None if verdict is None else SimpleNamespace(verdict=verdict)
    reporter.finished(RunOutcome((), "", ExitCode(code), failed, objectives), Path("run"), [OURS])
    if environment.process_exit_code is not None:
        return int(environment.process_exit_code)
    return int(chosen) if runner.errors or runner.exceptions else 0

default, bad = UnchosenCode(1), [OURS]
print(json.dumps({
    "nothing failed": [final(0, chosen) for chosen in (default, 0, 17)],
    "unlimited failures": [final(1, chosen, bad, failed=True) for chosen in (default, 0, 17)],
    "allowed failures": [final(0, chosen, bad, verdict=Verdict.PASS) for chosen in (default, 0, 17)],
    "allowed, not met": [final(1, chosen, bad, verdict=Verdict.FAIL) for chosen in (default, 0, 17)],
    "unlimited, not met": [final(1, chosen, bad, failed=True, verdict=Verdict.FAIL) for chosen in (default, 0, 17)],
    "unlimited, no verdict": [
        final(1, chosen, bad, failed=True, verdict=Verdict.CANNOT_TELL) for chosen in (default, 0, 17)
    ],
    "others failed too": [final(0, chosen, [OURS, OTHERS], verdict=Verdict.PASS) for chosen in (default, 0, 17)],
    "a user failed": [final(0, chosen, exceptions=("one",), verdict=Verdict.PASS) for chosen in (default, 0, 17)],
    "after a failed run": [final(0, chosen, bad, verdict=Verdict.PASS, earlier=1) for chosen in (default, 0, 17)],
}))
"""


def test_failed_requests_that_an_objective_allows_do_not_end_the_process_with_an_error() -> None:
    """For each case the exit codes without `--exit-code-on-error`, with 0 and with 17."""
    ended = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {
        "nothing failed": [0, 0, 0],
        "unlimited failures": [1, 0, 17],
        "allowed failures": [0, 0, 0],
        "allowed, not met": [1, 1, 1],
        "unlimited, not met": [1, 1, 17],
        "unlimited, no verdict": [1, 3, 17],
        "others failed too": [1, 0, 17],
        "a user failed": [1, 0, 17],
        "after a failed run": [1, 1, 1],
    }
