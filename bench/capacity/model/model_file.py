"""`model.json`: a fitted model and what it was fitted to, so that a plan can be made without measuring again.

Format history:
    1: first.
    2: how much the validation widened the intervals (`widening`).
    3: `station` is `queue_model`, its `calibration` is the inverse of `speed_factor`; `points` is `measurements`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from bench.capacity.measurements.measured_step import Measurement
from bench.capacity.model.model import CapacityModel
from bench.capacity.queue.latency_table import ParameterSet
from bench.capacity.queue.queue_model import QueueModel
from bench.core.atomic_files import write_atomically
from bench.core.errors import UsageError
from bench.core.types import Floats
from bench.core.versioned_json import VersionedJson

FILE_NAME: Final = "model.json"


@dataclass(frozen=True)
class StoredModel:
    """A model with its steps.

    Args:
        label: names the measured set.
        about: what was measured.
        slo: text of the objective it was measured for.
        model: the model.
        measurements: the measured steps.
    """

    label: str
    about: Mapping[str, str]
    slo: str
    model: CapacityModel
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True)
class _Stored:
    """The file; see `StoredModel` and `CapacityModel`. A latency without a bound is null."""

    label: str
    about: Mapping[str, str]
    slo: str
    queue_model: QueueModel
    work: Floats
    rates: Floats
    center: Floats
    replicates: Floats
    capacities: Floats
    valid: tuple[float, float]
    discrepancy: float
    warnings: tuple[str, ...]
    widening: float
    measurements: tuple[Measurement, ...]


def _rename_the_fields(raw: dict[str, Any]) -> dict[str, Any]:
    """Format 3."""
    raw = dict(raw)
    queue_model = dict(raw.pop("station"))
    queue_model["speed_factor"] = 1 / queue_model.pop("calibration")
    return raw | {"queue_model": queue_model, "measurements": raw.pop("points")}


_FILE: Final = VersionedJson(
    _Stored,
    3,
    name="capacity model",
    cure="fit again",
    updates={2: lambda raw: raw | {"widening": 1.0}, 3: _rename_the_fields},
    # All digits, so that a report made again says the same.
    option=orjson.OPT_SERIALIZE_NUMPY,
)
_SHARED: Final = ("rates", "center", "replicates", "capacities", "valid", "discrepancy", "warnings", "widening")


def write_model(folder: Path, stored: StoredModel) -> Path:
    """Writes `model.json` into `folder`, and gives its path."""
    model, parameter_set = stored.model, stored.model.parameter_set
    shared = {name: getattr(model, name) for name in _SHARED}
    about: dict[str, Any] = {
        "label": stored.label,
        "about": dict(stored.about),
        "slo": stored.slo,
        "measurements": stored.measurements,
    }
    path = folder / FILE_NAME
    write_atomically(
        path, _FILE.encode(_Stored(queue_model=parameter_set.queue_model, work=parameter_set.work, **about, **shared))
    )
    return path


def read_model(folder: Path) -> StoredModel:
    """The model in `folder`.

    Raises:
        UsageError: no model, or one that this version cannot read.
    """
    try:
        found = _FILE.read(folder / FILE_NAME)
    except FileNotFoundError as error:
        raise UsageError(f"{folder} holds no fitted model; make one with bertbench capacity --out {folder}") from error
    shared = {name: getattr(found, name) for name in _SHARED}
    model = CapacityModel(parameter_set=ParameterSet(found.queue_model, found.work), **shared)
    return StoredModel(found.label, found.about, found.slo, model, found.measurements)
