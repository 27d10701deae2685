"""The counters of TensorFlow Serving's Prometheus page that show where requests spend their time.

Names and labels are those of `:tensorflow:serving:` in Serving's util/prometheus_exporter.cc and servables/tensorflow/
util.cc: latencies are histograms in microseconds; `API` reads `Predict` for gRPC and `predict` for REST.
"""

import re
from collections import defaultdict
from typing import Final

from bench.results.samples import MOST_VALUE

_LINE: Final = re.compile(r"^:tensorflow:serving:([\w:]+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_MICRO: Final = 1e-6
_BATCHING: Final = "batching_session:"


def read_page(text: str, model: str) -> dict[str, float]:
    """The counters, by the names of `bench.results.samples.ServerSample`, as far as the page has them.

    Values that a counter cannot have (negative, infinite) are left out.

    Args:
        text: the page.
        model: the counters of other models are ignored.
    """
    totals: dict[str, float] = defaultdict(float)
    for name, labels_text, value_text in _LINE.findall(text):
        if name.endswith("_bucket"):
            continue
        labels = dict(_LABEL.findall(labels_text))
        if labels.get("model_name", model) != model:
            continue
        try:
            value = float(value_text)
        except ValueError:
            continue
        if not 0 <= value <= MOST_VALUE:
            continue
        for counter, scale in _counters(name, labels):
            totals[counter] += value * scale
    return dict(totals)


def _counters(name: str, labels: dict[str, str]) -> list[tuple[str, float]]:
    """The counters that a line adds to, with their scale."""
    if name == "request_count":
        return [("requests_ok" if labels.get("status") == "OK" else "requests_failed", 1.0)]
    if name.startswith(_BATCHING):
        return _batching_counters(name.removeprefix(_BATCHING))
    family, _, part = name.rpartition("_")
    measure = {"sum": ("seconds", _MICRO), "count": ("count", 1.0)}.get(part)
    if measure is None or labels.get("API", "").lower() != "predict":
        return []
    if family == "request_latency" and labels.get("entrypoint") in ("REST", "GRPC"):
        return [(f"{labels['entrypoint'].lower()}_{measure[0]}", measure[1])]
    return [(f"runtime_{measure[0]}", measure[1])] if family == "runtime_latency" else []


def _batching_counters(name: str) -> list[tuple[str, float]]:
    known = {
        "queuing_latency_sum": ("queue_seconds", _MICRO),
        "queuing_latency_count": ("queue_count", 1.0),
        "wrapped_run_count": ("batch_count", 1.0),
        # After padding, less the padding.
        "processed_batch_size_sum": ("batch_rows", 1.0),
        "padding_size_sum": ("batch_rows", -1.0),
    }
    return [known[name]] if name in known else []
