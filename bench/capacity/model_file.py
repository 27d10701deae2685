"""`model.json`: a fitted model and what it was fitted to, so that a plan can be made without measuring again.

Format history:
    1: first.
    2: how much the intervals were widened by the runs that the model never saw.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.capacity.curves import Candidate
from bench.capacity.model import CapacityModel
from bench.capacity.points import Point
from bench.capacity.station import Batching, Station
from bench.errors import UsageError
from bench.results.atomic import write_atomically

FORMAT: Final = 2
FILE_NAME: Final = "model.json"


@dataclass(frozen=True)
class StoredModel:
    """A model with its measurements.

    Args:
        label: names the measured set.
        about: what was measured.
        slo: text of the objective it was measured for.
        model: the model.
        points: the measured steps.
    """

    label: str
    about: Mapping[str, str]
    slo: str
    model: CapacityModel
    points: tuple[Point, ...]


def write_model(folder: Path, stored: StoredModel) -> Path:
    """Writes `model.json` into `folder`, and gives its path."""
    model = stored.model
    body = {
        "format": FORMAT,
        "label": stored.label,
        "about": dict(stored.about),
        "slo": stored.slo,
        "station": model.candidate.station.to_json(),
        "work": model.candidate.work,
        "rates": model.rates,
        "center": model.center,
        # All digits, so that a report made again says the same; unbounded is null.
        "replicates": model.replicates,
        "capacities": model.capacities,
        "valid": list(model.valid),
        "discrepancy": model.discrepancy,
        "warnings": list(model.warnings),
        "widening": model.widening,
        "points": [point.to_json() for point in stored.points],
    }
    path = folder / FILE_NAME
    write_atomically(path, orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY))
    return path


def read_model(folder: Path) -> StoredModel:
    """The model in `folder`.

    Raises:
        UsageError: no model, or one that this version cannot read.
    """
    path = folder / FILE_NAME
    try:
        raw = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"{folder} holds no fitted model; make one with bertbench capacity --out {folder}") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{path} is not JSON ({error}); fit again") from error
    try:
        if raw["format"] > FORMAT:
            raise UsageError(f"{path} has model format {raw['format']}, this version reads {FORMAT}; update bertbench")
        points = tuple(Point.from_json(entry) for entry in raw["points"])
        return StoredModel(raw["label"], raw["about"], raw["slo"], _model(raw), points)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is no model of this version's ({error}); fit again") from error


def _model(raw: Mapping[str, Any]) -> CapacityModel:
    station = raw["station"]
    batching = Batching(**station["batching"]) if station["batching"] else None
    # Models of the first version's beginnings had no calibration, which is 1.
    found = Station(
        station["servers"], tuple(station["speeds"]), station["overhead"], batching, station.get("calibration", 1.0)
    )
    return CapacityModel(
        candidate=Candidate(found, np.array(raw["work"])),
        rates=np.array(raw["rates"]),
        center=_unbounded(raw["center"]),
        replicates=_unbounded(raw["replicates"]),
        capacities=np.array(raw["capacities"]),
        valid=(raw["valid"][0], raw["valid"][1]),
        discrepancy=raw["discrepancy"],
        warnings=tuple(raw["warnings"]),
        widening=raw["widening"] if raw["format"] > 1 else 1.0,
    )


def _unbounded(values: Any) -> NDArray[np.float64]:
    """Latencies as they were stored: null is one without a bound."""
    found = np.array(values, np.float64)
    return np.where(np.isnan(found), np.inf, found)
