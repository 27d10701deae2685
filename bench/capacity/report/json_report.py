"""`capacity.json`: the result of a capacity measurement for programs. Rates are requests/s, times seconds.

Format history:
    1: first.
"""

from dataclasses import asdict
from typing import Any, Final

from bench.capacity.model.model import CapacityModel
from bench.capacity.model.validation import median_error
from bench.capacity.plan.plan import PlanRow
from bench.capacity.plan.planned import Planned
from bench.capacity.plan.result import CapacityResult
from bench.capacity.queue.latency_table import COLUMNS
from bench.capacity.queue.queue_model import QueueModel
from bench.core.output import to_json
from bench.core.versioned_json import INDENTED

FORMAT: Final = 1


def capacity_json(result: CapacityResult) -> bytes:
    """The file's bytes."""
    sustained = result.sustained
    body = {
        "format": FORMAT,
        "label": result.label,
        "about": dict(result.about),
        "slo": str(result.slo),
        "sentences_per_request": result.sentences,
        "attainable": sustained.attainable,
        "reason": sustained.reason,
        "slo_rate": sustained.rate,
        "measured_rates": list(sustained.measured),
        "highest_rate_passed": sustained.highest_passed,
        "lowest_rate_failed": sustained.lowest_failed,
        "saturated": result.saturated,
        "usl": result.usl,
        "model": _model(result.model),
        "hold_out": {
            "median_error": median_error(result.validation),
            "inside": sum(value.inside for value in result.validation),
            "checks": list(result.validation),
        },
        "replicas": result.replicas,
        "plan": _plan(result.planned) if result.planned else None,
        "points": list(result.measurements),
        "warnings": list(result.warnings),
    }
    return to_json(body, option=INDENTED)


def _model(model: CapacityModel) -> dict[str, Any]:
    predictions = [model.predict(float(rate), extrapolate=True) for rate in model.rates]
    return {
        "capacity": model.capacity,
        "knee": model.knee,
        "station": _station(model.parameter_set.queue_model),
        "mean_work": float(model.parameter_set.work.mean()),
        "valid": list(model.valid),
        "discrepancy": model.discrepancy,
        "widening": model.widening,
        "warnings": list(model.warnings),
        "table": [
            {
                "rate": entry.rate,
                "utilisation": entry.utilisation,
                "extrapolated": entry.extrapolated,
                **{name: entry.latency[name] for name in COLUMNS},
            }
            for entry in predictions
        ],
    }


def _station(model: QueueModel) -> dict[str, Any]:
    """The queue model, by the names that the file has had since format 1."""
    return {
        "servers": model.servers,
        "speeds": model.speeds,
        "overhead": model.overhead,
        "calibration": 1 / model.speed_factor,
        "batching": model.batching,
    }


def _plan(planned: Planned) -> dict[str, Any]:
    options, day = planned.options, planned.diurnal
    return {
        "redundancy": str(options.redundancy),
        "headroom": options.headroom,
        "price": options.price,
        "policy": options.policy,
        "row": _row(planned.row),
        "table": [_row(row) for row in planned.table],
        "all_up": planned.all_up,
        "spare_down": planned.spare_down,
        "diurnal": day
        and {
            "spans": [asdict(span) | {"plan": _row(row)} for span, row in zip(day.spans, day.rows, strict=True)],
            "peak": _row(day.peak),
            "hours_followed": day.hours_followed,
            "hours_fixed": day.hours_fixed,
            "price_followed": day.price_followed,
            "price_fixed": day.price_fixed,
        },
    }


def _row(row: PlanRow) -> dict[str, Any]:
    return asdict(row) | {"price_month": row.price_month}
