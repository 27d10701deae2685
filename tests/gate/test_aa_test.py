import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import orjson
import pytest

from bench.cli import main
from bench.core.errors import InconclusiveError, TargetError, UsageError
from bench.core.interrupts import Interrupted
from bench.gate import aa_test
from bench.gate.aa_test import replay, resampled, smallest_effect
from bench.gate.aa_test_store import FILE_NAME, AATestResult, read_aa_test, store_aa_test
from bench.gate.spec import GateSpec
from bench.gate.types import VerdictKind, default_plan
from bench.stats import sign_flip
from tests.support.gate_noise import pairs, slower
from tests.support.json_documents import document
from tests.support.toy_golden import write_model_dir

FOUND = AATestResult(20, 1, 2, 300.0, 0.03, 2.5, "2026-01-31T12:00:00Z")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "bertbench" / FILE_NAME


def test_stored_by_load(cache: Path) -> None:
    assert read_aa_test("grpc a") is None
    store_aa_test("grpc a", FOUND)
    store_aa_test("rest a", AATestResult(5, 0, 0, 60.0, None, 2.0, ""))
    assert read_aa_test("grpc a") == FOUND
    assert str(FOUND) == "1 of 20 gates without a change on this machine, at most 21.6% (95 %)"


def test_another_machines_or_broken_file(cache: Path) -> None:
    store_aa_test("grpc a", FOUND)
    raw = orjson.loads(cache.read_bytes())
    cache.write_bytes(orjson.dumps(raw | {"cores": raw["cores"] + 1}))
    assert read_aa_test("grpc a") is None
    cache.write_text("{")
    with pytest.raises(UsageError, match="gate calibrate"):
        read_aa_test("grpc a")
    # Which is the cure.
    store_aa_test("rest a", FOUND)
    assert read_aa_test("rest a") == FOUND


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer gates and fewer patterns of signs: coarser, and several times as fast."""
    monkeypatch.setattr(aa_test, "TRIALS", 15)
    monkeypatch.setattr(sign_flip, "GENERATORS", 9)


@pytest.mark.usefixtures("quick")
def test_more_noise_hides_larger_effects() -> None:
    rng = np.random.default_rng(1)
    found = {sd: smallest_effect([list(pairs("plain", rng, 40, sd))], default_plan, 20, seed=1) for sd in (0.01, 0.06)}
    assert found[0.01] is not None
    assert found[0.01] <= 0.05
    assert found[0.06] is None or found[0.06] > found[0.01]


@pytest.mark.usefixtures("quick")
def test_the_smallest_effect_is_one_that_gates_find() -> None:
    rng = np.random.default_rng(1)
    series = [list(pairs("plain", rng, 40, 0.02))]
    effect = smallest_effect(series, default_plan, 30, seed=1)
    assert effect is not None
    draws = np.random.default_rng(2)
    found = [replay(default_plan(effect), resampled(series[0], 30, effect, False, draws), 30).kind for _ in range(30)]
    assert found.count(VerdictKind.REGRESSION) >= 20


def test_nothing_to_draw_from() -> None:
    assert smallest_effect([], default_plan, 30, seed=1) is None
    assert smallest_effect([[]], default_plan, 30, seed=1) is None


def test_processes_that_differ_for_good_hide_small_effects() -> None:
    """One start of the server is 3 % slower than another: an effect of 2 % cannot be told from that."""
    rng = np.random.default_rng(1)
    series = [list(pairs("plain", rng, 30, 0.005, slower(0.03))) for _ in range(2)]
    found = smallest_effect(series, default_plan, 20, seed=1)
    assert found is not None
    assert found >= 0.05


def test_resampling_keeps_the_count_and_slows_one_side() -> None:
    series = list(pairs("plain", np.random.default_rng(1), 12, 1e-6))
    for swapped in (False, True):
        drawn = list(resampled(series, 23, 0.1, swapped, np.random.default_rng(3)))
        assert len(drawn) == 23
        ratios = [pair.candidate.values["p50"] / pair.baseline.values["p50"] for pair in drawn]
        assert ratios == pytest.approx([1.1] * 23, abs=1e-3)
        rates = [pair.candidate.values["throughput"] / pair.baseline.values["throughput"] for pair in drawn]
        assert rates == pytest.approx([1 / 1.1] * 23, abs=1e-3)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (lambda: TargetError("the server ended"), 4),
        (lambda: InconclusiveError("no pair in the time given"), 3),
        (lambda: Interrupted(15), 143),
    ],
    ids=["target", "time", "signal"],
)
def test_gates_before_an_error_are_not_lost(
    error: Callable[[], BaseException], code: int, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may have taken five minutes; a result of more gates stays what it is."""
    ran: list[int] = []

    class Gate:
        def __init__(self, spec: GateSpec, notify: Callable[[str], None]) -> None:
            self.pairs = list(pairs("plain", np.random.default_rng(spec.seed), 20, 0.01))
            self.pair_seconds = 2.0

        def run(self) -> SimpleNamespace:
            if len(ran) == 2:
                raise error()
            ran.append(1)
            return SimpleNamespace(verdict=replay(default_plan(0.05), iter(self.pairs), len(self.pairs)), signal=None)

    monkeypatch.setattr(aa_test, "LiveGate", Gate)
    words = ["gate", "calibrate", "--target", "http://127.0.0.1:9"]
    words += ["--model-dir", str(write_model_dir(tmp_path / "model")), "--gates", "4", "--seed", "1"]
    words += ["--max-time", "60s", "--warmup", "1s"]

    def calibrate(*more: str) -> tuple[str, str]:
        ran.clear()
        out, err = io.StringIO(), io.StringIO()
        assert main([*words, *more], out, err) == code
        return out.getvalue(), err.getvalue().splitlines()[-1]

    out, line = calibrate("--json")
    assert line.endswith("; 2 gates of 4 ran, what they show is stored")
    found = document(out, "gate calibrate")
    assert (found["exit_code"], found["message"]) == (code, line)
    assert found["result"]["gates"] == len(found["verdicts"]) == 2
    (key,) = orjson.loads(cache.read_bytes())["loads"]
    stored = read_aa_test(key)
    assert stored is not None
    assert (stored.gates, stored.pair_seconds) == (2, 2.0)
    store_aa_test(key, FOUND)
    out, line = calibrate()
    assert "false alarms: 0 of 2 gates" in out
    assert line.endswith("; 2 gates of 4 ran, the result of 20 stays stored")
    assert read_aa_test(key) == FOUND
