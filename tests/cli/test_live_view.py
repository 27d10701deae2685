"""The figures of a run in progress, on a terminal and elsewhere."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from bench.cli.common.live_view import LiveView, live_line, live_table
from bench.load.live.objectives_so_far import ObjectiveSoFar
from bench.load.live.snapshot import Phase, SecondFigures, Snapshot
from bench.objectives.verdicts import Verdict
from bench.stats.estimate import Estimate

SECOND = SecondFigures(
    second=11,
    warmup=False,
    due=50,
    sent=50,
    done=49,
    outcomes={"ok": 49},
    wrong_kinds={},
    open=3,
    in_flight=2.0,
    waiting=1.0,
    users=8.0,
    from_due={"p50": 0.0091, "p95": 0.02, "p99": 0.03},
    from_send={"p50": 0.009, "p95": 0.019, "p99": 0.029},
    start_delay={"p50": 0.0001, "p95": 0.0002, "p99": 0.0003},
)
SNAPSHOT = Snapshot(
    time=12,
    begins=6.0,
    ends=66.0,
    phase=Phase.MEASURED,
    requests={"ok": 598, "wrong_answer": 2, "timeout": 0},
    warmup_requests={"ok": 297, "wrong_answer": 0, "timeout": 0},
    wrong_kinds={"drift": 2, "swap": 0},
    throughput=50.16,
    estimates=(
        Estimate("from_due_p50", 0.0089, 0.0085, 0.0094, 0.95, 300),
        Estimate("from_due_p95", 0.024, 0.02, None, 0.95, 60),
        Estimate.absent("from_due_p99", "p99 needs 368 requests, there are 301", 301),
        Estimate("from_send_p50", 0.0088, 0.0084, 0.0093, 0.95, 300),
        Estimate("start_delay_p99", 0.0003, 0.0002, 0.0004, 0.95, 300),
    ),
    newest=(SECOND,),
)


def test_a_line() -> None:
    assert live_line(SNAPSHOT) == (
        "  12 s of 66 s, measured: 301 ok, 2 wrong_answer (2 drift), 50.2 successful requests/s, "
        "from due p50 8.9 ms, 3 open, 2 in flight, 1 waiting"
    )


CHANGED: list[tuple[dict[str, Any], str]] = [
    (
        {"phase": Phase.WARMUP, "throughput": None, "estimates": (), "wrong_kinds": {}},
        "warm-up: 598 ok, 2 wrong_answer, 3 open",
    ),
    ({"requests": {"ok": 0}, "warmup_requests": {}, "throughput": None, "newest": ()}, "measured: no answer yet, from"),
    ({"phase": Phase.ENDED, "time": 70}, "66 s of 66 s, ended: 301 ok"),
]


@pytest.mark.parametrize(("change", "expected"), CHANGED)
def test_a_line_shows_what_is_known(change: dict[str, Any], expected: str) -> None:
    assert expected in live_line(replace(SNAPSHOT, **change))


HELD = replace(
    SNAPSHOT,
    objectives=(
        ObjectiveSoFar("p50<=10ms", Verdict.PASS, "8.9 ms [8.5 … 9.4 ms]", ""),
        ObjectiveSoFar("wrong=0", Verdict.FAIL, "—", "2 of 303 requests"),
    ),
)


def test_how_it_stands_to_its_objectives() -> None:
    assert live_line(HELD).endswith("1 waiting, p50<=10ms PASS so far, wrong=0 FAIL so far")
    assert shown(HELD)[-3:] == [
        "objective so far value",
        "p50<=10ms PASS 8.9 ms [8.5 … 9.4 ms]",
        "wrong=0 FAIL — 2 of 303 requests",
    ]


def shown(snapshot: Snapshot) -> list[str]:
    """The lines of the table, without their blanks."""
    out = io.StringIO()
    Console(file=out, width=110).print(live_table(snapshot))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_a_table() -> None:
    lines = shown(SNAPSHOT)
    assert lines[0] == "12 s of 66 s, measured"
    assert "301 ok, 2 wrong_answer (2 drift), 50.2 successful requests/s, 3 open, 2 in flight, 1 waiting" in lines
    table = lines[lines.index("latency so far p50 p95 p99") :]
    assert table[1] == "from due 8.9 ms [8.5 … 9.4 ms] 24 ms [20 ms … —] —"
    assert table[4] == "from due, last second 9.1 ms 20 ms 30 ms"
    assert len(table) == 7


def test_without_a_terminal_a_line_every_few_seconds() -> None:
    out = io.StringIO()
    with LiveView(out) as view:
        view.show(replace(SNAPSHOT, time=0))
        for second in range(1, 13):
            view.show(replace(SNAPSHOT, time=second))
        view.show(replace(SNAPSHOT, time=60, phase=Phase.ENDED))
        view.print_line("the outcome", out)
    lines = out.getvalue().splitlines()
    assert [line.split(" of ")[0].strip() for line in lines[:-1]] == ["5 s", "10 s"]
    assert lines[-1] == "the outcome"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_output_stays_and_the_table_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    with LiveView(out) as view:
        view.show(SNAPSHOT)
        assert "latency so far" in out.getvalue()
        view.print_line("a line", out)
        view.show(replace(SNAPSHOT, phase=Phase.ENDED))
        size = len(out.getvalue())
        view.show(SNAPSHOT)
        assert len(out.getvalue()) == size
        view.print_line("the outcome", out)
    text = out.getvalue()
    assert "a line\n" in text
    assert "latency so far" not in text[text.index("the outcome") :]


def test_a_stream_that_is_closed_is_no_fault() -> None:
    out = io.StringIO()
    view = LiveView(out)
    out.close()
    view.show(SNAPSHOT)
    assert out.closed
