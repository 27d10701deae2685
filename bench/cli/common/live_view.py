"""The figures of a run while it is in progress: a table on a terminal, a line every few seconds elsewhere."""

from typing import Any, Final, Self, TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.cli.common.progress import EVERY, LenientStream, Lines
from bench.core import interrupts
from bench.core.units import format_estimate, format_number, format_seconds
from bench.load.live.snapshot import Phase, Snapshot
from bench.results.records import Outcome
from bench.stats.estimate import Estimate

_SHOWN: Final = ("p50", "p95", "p99")
_CLOCKS: Final = {"from_due": "from due", "from_send": "from send", "start_delay": "start delay"}


class LiveView:
    """Shows the newest figures of a run. Nothing is written before `__enter__` and after `__exit__`.

    Args:
        err: where they go; what cannot be written is dropped.
    """

    def __init__(self, err: TextIO) -> None:
        self._stream = LenientStream(err)
        self._console = Console(
            file=cast(TextIO, self._stream), force_terminal=err.isatty(), highlight=False, markup=False
        )
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._over = False
        self._written = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            with interrupts.held():
                self._live.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._live.is_started:
            with interrupts.held():
                self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Shows new figures."""
        if not snapshot.time or self._over:
            return
        self._over = snapshot.phase is Phase.ENDED
        if self._live.is_started:
            self._live.update(Group() if self._over else live_table(snapshot), refresh=True)
            return
        if not self._over and snapshot.time - self._written >= max(EVERY, snapshot.time / 20):
            self._written = snapshot.time
            print(live_line(snapshot), file=self._stream, flush=True)

    def print_line(self, text: str, out: Lines) -> None:
        """Writes a line that stays, above the table.

        Raises:
            OSError: `out` cannot be written.
        """
        if self._live.is_started and out.isatty():
            self._console.print(text, soft_wrap=True)
        else:
            print(text, file=out, flush=True)


def live_line(snapshot: Snapshot) -> str:
    """`  12 s of 66 s, measured: 601 ok, 50.1 successful requests/s, from due p50 8.9 ms, p99 35 ms, 2 open`."""
    parts = [_counts(snapshot), _rate(snapshot)]
    latencies = [
        f"{name} {format_seconds(estimate.center)}"
        for name in ("p50", "p99")
        if (estimate := snapshot.estimate(f"from_due_{name}")) is not None and estimate.center is not None
    ]
    if latencies:
        parts.append(f"from due {', '.join(latencies)}")
    parts += _backlog(snapshot)
    parts += [f"{entry.objective} {entry.verdict} so far" for entry in snapshot.objectives]
    return f"  {_position(snapshot)}: {', '.join(part for part in parts if part)}"


def live_table(snapshot: Snapshot) -> Group:
    """The figures of a run for a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("latency so far", no_wrap=True)
    for name in _SHOWN:
        table.add_column(name, justify="right")
    for clock, title in _CLOCKS.items():
        table.add_row(title, *(_latency(snapshot.estimate(f"{clock}_{name}")) for name in _SHOWN))
    newest = snapshot.newest[-1] if snapshot.newest else None
    if newest is not None:
        for clock, title in _CLOCKS.items():
            values = getattr(newest, clock)
            cells = (format_seconds(values[name]) if name in values else "—" for name in _SHOWN)
            table.add_row(f"{title}, last second", *cells, style="dim")
    state = ", ".join(part for part in (_counts(snapshot), _rate(snapshot), *_backlog(snapshot)) if part)
    bar = ProgressBar(total=snapshot.ends, completed=min(snapshot.time, snapshot.ends), width=60)
    # Alone it would not end its line.
    line = Table.grid()
    line.add_row(bar)
    return Group(Text(_position(snapshot)), line, Text(state), table, *_objectives(snapshot))


def _objectives(snapshot: Snapshot) -> list[Table]:
    """How the run stands to its objectives; nothing without one."""
    if not snapshot.objectives:
        return []
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("objective", "so far", "value", ""):
        table.add_column(name, no_wrap=bool(name))
    for entry in snapshot.objectives:
        table.add_row(entry.objective, str(entry.verdict), entry.figure, entry.remark)
    return [table]


def _position(snapshot: Snapshot) -> str:
    done, phase = min(snapshot.time, snapshot.ends), snapshot.phase
    return f"{format_seconds(done)} of {format_seconds(snapshot.ends)}, {phase}"


def _counts(snapshot: Snapshot) -> str:
    """Requests by outcome, of the warm-up while it lasts; wrong answers by kind."""
    counts = snapshot.requests if snapshot.phase is Phase.WARMUP else snapshot.measured_requests
    kinds = ", ".join(f"{count:,} {name}" for name, count in snapshot.wrong_kinds.items() if count)
    shown = [
        f"{count:,} {name}" + (f" ({kinds})" if kinds and name == Outcome.WRONG_ANSWER else "")
        for name, count in counts.items()
        if count
    ]
    return ", ".join(shown) or "no answer yet"


def _rate(snapshot: Snapshot) -> str:
    rate = snapshot.throughput
    return "" if rate is None else f"{format_number(rate)} successful requests/s"


def _backlog(snapshot: Snapshot) -> list[str]:
    if not snapshot.newest:
        return []
    newest = snapshot.newest[-1]
    known = (("open", newest.open), ("in flight", newest.in_flight), ("waiting", newest.waiting))
    return [f"{value:,.0f} {name}" for name, value in known if value is not None]


def _latency(estimate: Estimate | None) -> str:
    if estimate is None:
        return "—"
    return format_estimate(estimate.center, estimate.lo, estimate.hi, format_seconds)
