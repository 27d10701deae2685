"""`model.json`: a fitted model and its measurements, so that a plan needs no new measurement.

Format history:
    1: first.
    2: how much the validation widened the intervals (`widening`).
    3: the model has an object of its own, and other names: `points` is `measurements`, `station` is `queue_model`, and
       its `speed_factor` is the inverse of the former `calibration`.
    4: the warnings of the sweep (`warnings`), and the sentences of a request (`sentences`).
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from bench.capacity.measurements.measured_step import Measurement
from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.model.validation import covering
from bench.core.atomic_files import write_atomically
from bench.core.errors import UsageError
from bench.core.versioned_json import VersionedJson

FILE_NAME: Final = "model.json"


@dataclass(frozen=True)
class StoredModel:
    """A model with its measurements. In the file, an unbounded latency is null.

    Args:
        label: name of the measured server.
        about: what was measured, text by name.
        slo: text of the objective of the sweep.
        model: the model.
        measurements: the measured steps.
        warnings: of the sweep, whatever the objective, one line each.
        sentences: sentences in a request; rates count requests.
    """

    label: str
    about: Mapping[str, str]
    slo: str
    model: CapacityModel
    measurements: tuple[Measurement, ...]
    warnings: tuple[str, ...] = ()
    sentences: int = 1


_MODEL: Final = ("rates", "center", "replicates", "capacities", "valid", "discrepancy", "warnings", "widening")


def _nest_the_model(raw: dict[str, Any]) -> dict[str, Any]:
    """Format 3."""
    raw = dict(raw)
    queue_model = dict(raw.pop("station"))
    queue_model["speed_factor"] = 1 / queue_model.pop("calibration")
    parameter_set = {"queue_model": queue_model, "work": raw.pop("work")}
    model = {"parameter_set": parameter_set, **{name: raw.pop(name) for name in _MODEL}}
    return raw | {"model": model, "measurements": raw.pop("points")}


_UNKNOWN_VALIDATION: Final = (
    "an earlier version stored this model without the warnings of its validation; store them with bertbench capacity "
    "report DIR"
)


def _add_the_warnings(raw: dict[str, Any]) -> dict[str, Any]:
    """Format 4."""
    # `about` begins with the number: "16 sentences, 100 % of the answers checked".
    found = re.match(r"([\d,]+) sentence", raw["about"].get("request", ""))
    sentences = int(found[1].replace(",", "")) if found else 1
    return raw | {"warnings": [*raw["model"]["warnings"], _UNKNOWN_VALIDATION], "sentences": sentences}


_FILE: Final = VersionedJson(
    StoredModel,
    4,
    name="capacity model",
    cure="fit again",
    updates={2: lambda raw: raw | {"widening": 1.0}, 3: _nest_the_model, 4: _add_the_warnings},
    # All digits, so that a report made again says the same.
    option=orjson.OPT_SERIALIZE_NUMPY,
)


def write_model(folder: Path, stored: StoredModel) -> Path:
    """Writes `model.json` into `folder`; returns its path."""
    path = folder / FILE_NAME
    write_atomically(path, _FILE.encode(stored))
    return path


def read_model(folder: Path) -> StoredModel:
    """Reads the model in `folder`.

    Raises:
        UsageError: there is no model, or this version cannot read it.
    """
    try:
        stored = _FILE.read(folder / FILE_NAME)
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder} holds no fitted model; make one with bertbench capacity --out {shlex.quote(str(folder))}, and "
            "with --resume where a sweep was begun there"
        ) from error
    # Files of earlier versions have the realized rate of a run as the highest.
    return replace(stored, model=covering(stored.model, stored.measurements))
