"""Predictions of the fitted model, before and after it is stored."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from bench.capacity.measurements.measured_step import Stage
from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.model.model_file import StoredModel, read_model, write_model
from bench.capacity.queue.latency_table import COLUMNS, ParameterSet
from bench.capacity.queue.queue_model import QueueModel
from tests.support.measurements import measurement


def model(replicates: float) -> CapacityModel:
    """Capacity 100/s, 10 ms and more, unbounded at the highest rate; the replicates are slower by this factor."""
    rates = np.array([2.0, 50.0, 90.0, 96.0])
    center = np.array([0.01, 0.02, 0.1, np.inf])[:, None] * np.ones(len(COLUMNS))
    parameter_set = ParameterSet(QueueModel.independent(1), np.full(10, 0.01)).with_speed_factor(0.8)
    return CapacityModel(
        parameter_set=parameter_set,
        rates=rates,
        center=center,
        replicates=np.repeat(replicates * center[None], 5, axis=0),
        capacities=np.full(5, parameter_set.capacity),
        valid=(2.0, 90.0),
        discrepancy=0.02,
    )


@pytest.mark.parametrize("replicates", [0.4, 1.0, 2.0])
def test_every_value_is_a_plain_number_for_json(replicates: float) -> None:
    found = model(replicates)
    summaries = [*found.predict(60.0).latency.values(), found.largest_rate({"p99": 0.05}), found.capacity]
    for summary in summaries:
        assert summary.lo is not None
        assert summary.center is not None
        # Replicates more than twice as fast meet the limit at every rate.
        assert (summary.hi is None) == (replicates == 0.4 and summary.metric == "slo_rate")
        assert summary.lo <= summary.center <= (summary.hi or summary.center)
        # orjson refuses numpy's own numbers.
        assert orjson.loads(orjson.dumps(summary))["center"] == summary.center


def test_a_stored_model_gives_the_same_predictions(tmp_path: Path) -> None:
    before = model(2.0)
    write_model(tmp_path, StoredModel("one", {}, "p99=50ms", before, ()))
    after = read_model(tmp_path).model
    assert after.parameter_set.queue_model == before.parameter_set.queue_model
    assert np.array_equal(after.center, before.center)
    assert np.array_equal(after.replicates, before.replicates)
    assert after.largest_rate({"p99": 0.05}) == before.largest_rate({"p99": 0.05})
    assert after.predict(60.0) == before.predict(60.0)


def test_a_model_of_format_2_is_read(tmp_path: Path) -> None:
    path = write_model(tmp_path, StoredModel("one", {}, "p99=50ms", model(2.0), (measurement(Stage.KNEE, rate=50.0),)))
    old = orjson.loads(path.read_bytes())
    fields = old.pop("model")
    parameter_set = fields.pop("parameter_set")
    station = parameter_set["queue_model"]
    station["calibration"] = 1 / station.pop("speed_factor")
    old |= fields | {"format": 2, "station": station, "work": parameter_set["work"], "points": old.pop("measurements")}
    path.write_bytes(orjson.dumps(old))
    found = read_model(tmp_path)
    assert found.model.parameter_set.queue_model == model(2.0).parameter_set.queue_model
    assert found.measurements == (measurement(Stage.KNEE, rate=50.0),)
    assert found.sentences == 1
    # It had the highest rate as it was realized.
    assert found.model.valid == (2.0, 50.0)
    (warning,) = found.warnings
    assert warning.startswith("an earlier version stored this model without the warnings of its validation")


def test_a_model_of_format_3_has_its_sentences_in_its_text(tmp_path: Path) -> None:
    path = write_model(tmp_path, StoredModel("one", {}, "p99=50ms", model(2.0), (), ("lost",), 7))
    assert read_model(tmp_path).sentences == 7
    old = orjson.loads(path.read_bytes())
    old |= {"format": 3, "about": {"request": "1,024 sentences, 100 % of the answers checked"}}
    del old["sentences"], old["warnings"]
    path.write_bytes(orjson.dumps(old))
    assert read_model(tmp_path).sentences == 1024


def test_the_knee_of_an_exponential_server_is_at_half_its_capacity() -> None:
    rates = np.linspace(2.0, 95.0, 30)
    center = (1 / (100.0 - rates))[:, None] * np.ones(len(COLUMNS))
    found = replace(model(1.0), rates=rates, center=center, replicates=np.repeat(center[None], 5, axis=0))
    assert found.knee == pytest.approx(50.0, abs=0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"rates": np.array([2.0, 50.0, 50.0, 96.0])},
        {"rates": np.array([2.0, 50.0, 90.0])},
        {"center": np.full((4, len(COLUMNS)), -1.0)},
        {"replicates": np.full((5, 4), 1.0)},
        {"capacities": np.full(5, 0.0)},
        {"valid": (2.0, 1e30)},
        {"widening": 0.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_model_that_no_fit_gives(change: dict[str, Any]) -> None:
    """A stored one may hold anything."""
    with pytest.raises(ValueError, match=r"rates|table|latency|replicates|capacity|widening"):
        replace(model(1.0), **change)
