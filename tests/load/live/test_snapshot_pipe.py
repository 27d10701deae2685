"""Snapshots over a pipe, whose reader may be slow or gone."""

import os

import numpy as np

from bench.load.live.live_figures import LiveFigures, LivePlan
from bench.load.live.snapshot import Phase, SecondFigures, Snapshot
from bench.load.live.snapshot_pipe import SnapshotPipe, read_snapshots
from bench.results.blocks import ROW
from bench.results.samples import ClientSample


def figures(seconds: int = 3) -> LiveFigures:
    found = LiveFigures(LivePlan(1.0, 10.0), [0])
    rows = np.zeros(100 * seconds, ROW)
    rows["due"] = rows["sent"] = np.arange(100 * seconds) / 100
    rows["done"] = rows["due"] + 0.005
    found.add_block(rows)
    found.add_sample(ClientSample(time=float(seconds), worker=0))
    return found


def test_what_is_written_is_read() -> None:
    reading, writing = os.pipe()
    pipe = SnapshotPipe(writing)
    for seconds in (2, 3):
        pipe(figures(seconds))
    os.close(writing)
    found = list(read_snapshots(reading))
    assert found == [figures(2).snapshot(), figures(3).snapshot()]
    assert [type(each.newest[0]) for each in found] == [SecondFigures] * 2
    assert found[-1].phase is Phase.MEASURED


def test_a_reader_that_is_slow_gets_whole_snapshots_and_delays_nobody() -> None:
    reading, writing = os.pipe()
    pipe = SnapshotPipe(writing)
    for _ in range(200):
        pipe(figures())
    data = os.read(reading, 1 << 20)
    pipe(figures())
    os.close(writing)
    data += os.read(reading, 1 << 20)
    os.close(reading)
    lines = data.splitlines()
    assert 2 <= len(lines) < 200
    assert all(Snapshot.from_json(line) == figures().snapshot() for line in lines)


def test_a_reader_that_has_left_is_no_fault() -> None:
    reading, writing = os.pipe()
    pipe = SnapshotPipe(writing)
    os.close(reading)
    for _ in range(3):
        pipe(figures())
    assert pipe._gone
    os.close(writing)
