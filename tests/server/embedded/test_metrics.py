"""The page that Prometheus reads."""

from bench.server.embedded.base.metrics import Counter, Histogram, page


def test_a_counter() -> None:
    counter = Counter("c", ("model", "status"))
    counter.add(("m", "OK"))
    counter.add(("m", "OK"), 2)
    counter.add(('q"\\', "OK"))
    assert counter.lines() == ['c{model="m",status="OK"} 3', 'c{model="q\\"\\\\",status="OK"} 1']


def test_a_histogram_cumulates() -> None:
    histogram = Histogram("h", ("model",), 1, 2, 3)
    for value in (0.5, 1, 3, 100):
        histogram.add(("m",), value)
    assert histogram.lines() == [
        'h_bucket{model="m",le="1"} 1',
        'h_bucket{model="m",le="2"} 2',
        'h_bucket{model="m",le="4"} 3',
        'h_bucket{model="m",le="+Inf"} 4',
        'h_sum{model="m"} 104.5',
        'h_count{model="m"} 4',
    ]


def test_names_and_buckets_are_servings() -> None:
    lines = page().decode().splitlines()
    for name in ("request_count counter", "request_latency histogram", "runtime_latency histogram"):
        assert f"# TYPE :tensorflow:serving:{name}" in lines
    assert "# TYPE :tensorflow:serving:batching_session:queuing_latency histogram" in lines
    histogram = Histogram("h", (), 10, 1.8, 33)
    histogram.add((), 1)
    limits = [line.split('"')[1] for line in histogram.lines() if "le=" in line]
    assert (len(limits), limits[:3], limits[-3:]) == (34, ["10", "18", "32.4"], ["8.19309e+08", "1.47476e+09", "+Inf"])


def test_clients_cannot_make_series_without_end() -> None:
    counter, histogram = Counter("c", ("model_name", "status")), Histogram("h", ("model_name",), 1, 2, 3)
    for number in range(3000):
        counter.add((f"m{number}", "OK"))
        histogram.add((f"m{number}",), 1)
    counter.add(("x" * 10_000, "OK"))
    assert len(counter.lines()) == 1001
    assert 'c{model_name="(other)",status="(other)"} 2001' in counter.lines()
    assert 'h_count{model_name="(other)"} 2000' in histogram.lines()
    counter.add(("m7", "OK"))
    assert 'c{model_name="m7",status="OK"} 2' in counter.lines()
