"""What a run says of itself, and the exit code."""

import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bench.analysis.run import analyse
from bench.core.errors import ExitCode, TargetError, UsageError, WrongAnswerError
from bench.core.units import format_number, format_seconds
from bench.load.setup.catalog import SampleRule
from bench.load.setup.run_outcome import describe_outcome
from bench.objectives.grammar import parse_objectives
from bench.objectives.until import parse_until
from bench.results.failures import FailureText
from bench.results.manifest import Stopping
from bench.results.records import Outcome
from bench.results.run_paths import FILE_NAME
from bench.results.run_reader import find_runs, open_run
from bench.serving.errors import Lack
from tests.support.pages import ROOT
from tests.support.synthetic_runs import WORKLOAD, settling_run, simulate, write_run

MODEL = Path("some-model")


def end(root: Any, spoil: Any = lambda requests: None, rule: Any = None, workload: Any = WORKLOAD, **more: Any) -> Any:
    requests = simulate(workload=workload)
    spoil(requests)
    return describe_outcome(write_run(root, requests, workload=workload, **more).path, MODEL, rule)


def spoil_all(outcome: Any, start: Any = 0) -> Any:
    def change(requests: Any) -> None:
        requests.outcome[start:] = [outcome] * (len(requests.outcome) - start)

    return change


def spoil_one(outcome: Any, index: int = -1) -> Any:
    def change(requests: Any) -> None:
        requests.outcome[index] = outcome

    return change


def test_a_good_run(tmp_path: Path) -> None:
    found = end(tmp_path)
    assert (found.exit_code, found.error) == (ExitCode.OK, "")
    assert "requests were due" in found.lines[0]
    assert "100 more in the warm-up, not counted" in found.lines[0]
    assert found.lines[1].startswith("latency from due")
    assert found.lines[2].startswith("latency from send")
    assert "of 50 offered" in found.lines[3]
    assert "64 users" in found.lines[3]
    assert found.lines[-1] == str(next(tmp_path.iterdir()))
    assert found.lines[-2].startswith(("VALID", "INVALID"))


def test_every_answer_wrong_names_the_option(tmp_path: Path) -> None:
    found = end(tmp_path, spoil_all(Outcome.WRONG_ANSWER))
    assert found.exit_code is ExitCode.REGRESSION
    assert "another model than some-model" in found.error
    assert "--model-dir" in found.error


@pytest.mark.parametrize("index", [0, -1])
def test_one_wrong_answer_is_one_too_many_in_the_warm_up_too(tmp_path: Path, index: int) -> None:
    found = end(tmp_path, spoil_one(Outcome.WRONG_ANSWER, index))
    assert found.exit_code is ExitCode.REGRESSION
    assert found.error.startswith("1 answer differs from")


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.UNAVAILABLE, Outcome.REJECTED, Outcome.INVALID_RESPONSE])
def test_failures(tmp_path: Path, outcome: Any) -> None:
    some = end(tmp_path / "some", spoil_all(outcome, 500))
    assert some.exit_code is ExitCode.REGRESSION
    assert "failed request" in some.error
    none = end(tmp_path / "none", spoil_all(outcome))
    assert none.exit_code is ExitCode.TARGET_FAILED
    assert re.search(rf"no request was successful \([\d,]+ {outcome}\); check the server", none.error)


def test_what_failed_requests_said_stands_below_their_counts(tmp_path: Path) -> None:
    said = [FailureText(Outcome.REJECTED, f"reason {number}", 100 - number) for number in range(5)]
    found = end(tmp_path, spoil_all(Outcome.REJECTED), failures=[*said, FailureText(Outcome.REJECTED, "", 3)])
    assert found.lines[1:4] == ("  100 rejected: reason 0", "  99 rejected: reason 1", "  98 rejected: reason 2")
    assert found.lines[4].startswith("latency from due")


def test_failures_for_lack_of_open_files_do_not_send_the_user_to_the_server(tmp_path: Path) -> None:
    spoil = spoil_all(Outcome.UNAVAILABLE)
    found = end(tmp_path, spoil, lacks={Lack.FILES: 7})
    assert found.error == (
        "no request was successful (1,065 unavailable); 7 requests failed for lack of open files: raise the limit "
        "(ulimit -n), or give fewer users"
    )


def test_a_figure_that_the_data_do_not_carry_is_no_number(tmp_path: Path) -> None:
    found = end(tmp_path, workload=replace(WORKLOAD, duration=1.0))
    assert "p99 —" in found.lines[1]


@pytest.mark.parametrize(
    ("rule", "notes"),
    [
        (SampleRule(source="A rule", requests=10, seconds=5.0), []),
        (SampleRule(source="A rule", requests=10**6, seconds=5.0), ["A rule requires 1,000,000 requests"]),
        (
            SampleRule(source="A rule", requests=10, seconds=600.0),
            ["A rule requires 10 m 00 s, this run measured 20 s"],
        ),
        (SampleRule(source="A rule", requests=10**6, seconds=5.0, per_sentence=True), ["1,000,000 sentences"]),
    ],
)
def test_sample_size_rules(tmp_path: Path, rule: Any, notes: Any) -> None:
    found = [line for line in end(tmp_path, rule=rule).lines if "rule requires" in line]
    assert len(found) == len(notes)
    assert all(note in line for note, line in zip(notes, found, strict=True))


@pytest.mark.parametrize(
    ("seconds", "note"),
    [(22.9, ""), (22.946, "22.95 s, this run measured 22.94 s"), (30.0, "30 s, this run measured 22.9 s")],
)
def test_a_rule_s_seconds_are_those_that_were_measured(tmp_path: Path, seconds: float, note: str) -> None:
    """The run settles after 10.06 s of 33 s, so 22.94 of the 30 s that were planned are measured."""
    workload = replace(WORKLOAD, duration=30.0, warmup=3.0)
    rule = SampleRule(source="A rule", requests=10, seconds=seconds)
    run = settling_run(tmp_path, workload)
    found = [line for line in describe_outcome(run.path, MODEL, rule).lines if "rule requires" in line]
    assert found == ([f"note: A rule requires {note}"] if note else [])


def test_sentences_are_the_figure_where_a_request_carries_several(tmp_path: Path) -> None:
    workload = replace(WORKLOAD, sentences=16)
    found = end(tmp_path, workload=workload)
    summary = analyse(find_runs([tmp_path])[0]).summary
    throughput, sentences = (summary.metrics[name] for name in ("throughput", "sentence_rate"))
    assert sentences.center == pytest.approx(16 * throughput.center)
    assert (sentences.lo, sentences.hi) == (16 * throughput.lo, 16 * throughput.hi)
    assert found.lines[3].startswith(
        f"{format_number(sentences.center)} sentences/s, {format_number(throughput.center)} successful requests/s, "
        f"{format_number(14 * throughput.center)} words/s, "
    )


def test_one_sentence_a_request_needs_no_second_rate(tmp_path: Path) -> None:
    found = end(tmp_path)
    assert "sentences/s" not in found.lines[3]
    assert "words/s" in found.lines[3]


@pytest.mark.parametrize(("users", "text"), [(1, "(1 user)"), (64, "(64 users)"), (1500, "(1,500 users)")])
def test_plurals(tmp_path: Path, users: int, text: str) -> None:
    assert text in end(tmp_path, workload=replace(WORKLOAD, users=users)).lines[3]


def test_users_that_changed_are_told_as_they_were(tmp_path: Path) -> None:
    found = end(tmp_path, users=lambda time, worker: 64.0 if time <= 12 else 32.0)
    assert "in flight on average (32 to 64 users, 48 on average)" in found.lines[3]


def test_failures_of_the_warm_up_are_told_beside_its_requests(tmp_path: Path) -> None:
    found = end(tmp_path, spoil_one(Outcome.TIMEOUT, 0))
    assert "; 100 more in the warm-up, not counted (1 timeout there): " in found.lines[0]
    assert found.lines[0].endswith(f": {sum(find_runs([tmp_path])[0].file.counts.values()):,} in all")
    assert found.error == "1 failed request"


def test_an_interval_without_an_end_keeps_the_other(tmp_path: Path) -> None:
    """What the data do not bound is `—`, in the console as in reports."""
    requests = simulate("poisson:rate=90", replace(WORKLOAD, duration=10.0))
    path = write_run(tmp_path, requests, "poisson:rate=90", replace(WORKLOAD, duration=10.0)).path
    lines = describe_outcome(path, MODEL).lines
    summary = analyse(open_run(path)).summary.metrics["from_due_p99"]
    assert summary.hi is None
    assert f"p99 {format_seconds(summary.center)} [{format_seconds(summary.lo)} … —]" in lines[1]
    assert "?" not in lines[1]


@pytest.mark.parametrize(
    ("reason", "interrupted", "line"),
    [
        ("p99 is known to ±4 %", False, "stopped after 20 s of at most 2 m 00 s: p99 is known to ±4 %"),
        ("", False, "ran 20 s, the most that it may, without p99±5%; raise --max-duration to go on"),
        ("", True, "ended after 10 s of at most 2 m 00 s, before p99±5%"),
    ],
    ids=["precise enough", "as long as it may", "interrupted"],
)
def test_how_a_run_that_may_stop_by_itself_ended(tmp_path: Path, reason: str, interrupted: bool, line: str) -> None:
    run = write_run(tmp_path, simulate(), until=parse_until("p99±5%"))
    stopping = Stopping(planned=120.0, looks=3, reason=reason)
    file = replace(run.file, stopping=stopping, interrupted=interrupted, elapsed=12.0 if interrupted else 22.0)
    (run.path / FILE_NAME).write_bytes(file.to_bytes())
    assert line in describe_outcome(run.path, MODEL).lines


@dataclass(frozen=True)
class Event:
    """What happens in a run: what becomes of its requests, lost processes, objectives."""

    spoil: Any = lambda requests: None
    lost: tuple[str, ...] = ()
    slo: str = ""


BEFORE = {
    "a signal ended the process": "130, 143, 129",
    "invalid options": str(int(UsageError.exit_code)),
    "the server does not start": str(int(TargetError.exit_code)),
    "a server that was not started here": str(int(WrongAnswerError.exit_code)),
}
EVENTS = {
    "nothing was due": Event(spoil=lambda requests: clear(requests)),
    "wrong answers": Event(spoil=spoil_one(Outcome.WRONG_ANSWER)),
    "a process of the load generator": Event(lost=("worker 1 was lost",)),
    "no request was successful": Event(spoil=spoil_all(Outcome.TIMEOUT)),
    "any other failed request": Event(spoil=spoil_one(Outcome.TIMEOUT, 500)),
    "an objective is not met": Event(slo="p50<=1ms"),
    "an objective cannot be told": Event(slo="p99.9<=10s"),
    "none of these": Event(),
}


def clear(requests: Any) -> None:
    for name in ("due", "sent", "done", "outcome"):
        setattr(requests, name, getattr(requests, name)[:0])


def delay(requests: Any) -> None:
    """The load generator falls half a second behind."""
    requests.sent, requests.done = requests.sent + 0.5, requests.done + 0.5


def after(root: Path, *events: Event) -> Any:
    """The outcome of a run with all of the events, the first one last."""
    requests = simulate()
    for event in reversed(events):
        event.spoil(requests)
    slo = ",".join(event.slo for event in events if event.slo)
    run = write_run(root, requests, objectives=parse_objectives(slo) if slo else ())
    return describe_outcome(run.path, MODEL, lost=[line for event in events for line in event.lost])


def documented() -> dict[str, str]:
    """The table of the reference: what happened, and the exit code."""
    text = (ROOT / "docs/reference/load.md").read_text(encoding="utf-8")
    section = text.partition("## Exit codes\n")[2].partition("\n## ")[0]
    rows = [row.strip("| ").split(" | ") for row in section.splitlines() if row.startswith("| ")]
    return dict(rows[1:])


def code_of(start: str) -> str:
    (found,) = [code for what, code in documented().items() if what.startswith(start)]
    return found.partition(",")[0] if found.endswith("`--exit-code-on-error`") else found


def test_the_table_of_exit_codes_has_a_row_for_each_event() -> None:
    rows, known = list(documented()), [*BEFORE, *EVENTS]
    assert len(rows) == len(known)
    assert all(row.startswith(start) for row, start in zip(rows, known, strict=True))
    assert {start: code_of(start) for start in BEFORE} == BEFORE


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_has_the_code_of_its_row(event: str, tmp_path: Path) -> None:
    assert after(tmp_path, EVENTS[event]).exit_code == int(code_of(event))


@pytest.mark.parametrize(("first", "second"), [*itertools.combinations([*EVENTS][1:-1], 2)])
def test_the_first_row_that_applies_decides(first: str, second: str, tmp_path: Path) -> None:
    assert after(tmp_path, EVENTS[first], EVENTS[second]).exit_code == int(code_of(first))


def test_an_invalid_run_without_a_failure_has_exit_code_3_with_objectives_only(tmp_path: Path) -> None:
    late = Event(spoil=delay)
    plain, limited = after(tmp_path / "plain", late), after(tmp_path / "limited", late, Event(slo="p50<=10s"))
    assert plain.lines[-2].startswith("INVALID")
    assert (plain.exit_code, limited.exit_code) == (ExitCode.OK, ExitCode.INCONCLUSIVE)


@pytest.mark.parametrize(
    ("slo", "spoil", "code"),
    [
        ("wrong<=5%,errors<=50%", spoil_one(Outcome.WRONG_ANSWER), ExitCode.TARGET_FAILED),
        ("wrong<=5%", spoil_one(Outcome.WRONG_ANSWER), ExitCode.TARGET_FAILED),
        ("errors<=50%", spoil_one(Outcome.WRONG_ANSWER), ExitCode.REGRESSION),
        ("wrong<=5%", spoil_all(Outcome.WRONG_ANSWER), ExitCode.REGRESSION),
    ],
)
def test_wrong_answers_that_an_objective_decides_do_not_hide_a_lost_process(
    slo: str, spoil: Any, code: ExitCode, tmp_path: Path
) -> None:
    found = after(tmp_path, Event(spoil=spoil), EVENTS["a process of the load generator"], Event(slo=slo))
    assert found.exit_code is code
    assert ("worker 1 was lost" in found.error) == (code is ExitCode.TARGET_FAILED)
