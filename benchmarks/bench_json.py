"""JSON of the embedded server's REST endpoint: `python -m benchmarks.bench_json`, times beside orjson's.

- Answers: probabilities and their logarithms written as TensorFlow Serving writes them, and by orjson on one line.
- Requests: bodies read and checked into tensors, and only parsed by orjson.

The two of a line are measured in turns; ratios hold on any machine.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import orjson

from bench.server.embedded.rest import json_fast
from bench.server.embedded.rest.json_request import Layout
from bench.server.embedded.rest.json_response import predict_answer
from bench.server.embedded.runtime.tensors import DT_FLOAT, Tensor
from bench.serving.protos import types_pb2

CALLS = 1000
# Rows and columns: the article's positions, its sequence, a short table and a sentence of 14 words.
SHAPES = ((14, 20), (14, 128), (14, 16), (1, 14))
INPUTS = {"input_ids": 128, "input_mask": 128, "segment_ids": 128, "masked_lm_positions": 20, "masked_lm_ids": 20}


def compare(label: str, ours: Callable[[], object], orjsons: Callable[[], object]) -> None:
    """Prints the medians of both, microseconds, and their ratio."""
    times: list[list[float]] = [[], []]
    for _ in range(CALLS):
        for taken, call in zip(times, (ours, orjsons), strict=True):
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
    ours_us, orjsons_us = (statistics.median(taken) * 1e6 for taken in times)
    print(f"  {label:34} {ours_us:6.0f} µs, orjson {orjsons_us:6.1f} µs, {ours_us / orjsons_us:5.1f} times", flush=True)


def answers() -> None:
    draw = np.random.default_rng(1)
    for shape in SHAPES:
        log_prob = -draw.exponential(4.0, shape).astype(np.float32)
        arrays = {"log_prob": log_prob, "prob": np.exp(log_prob)}
        for names in (["log_prob"], ["log_prob", "prob"]):
            outputs = [(name, Tensor(DT_FLOAT, shape, arrays[name].ravel())) for name in names]
            chosen = {name: arrays[name] for name in names}
            compare(
                f"answer {shape[0]} × {shape[1]}, {', '.join(names)}",
                lambda outputs=outputs: predict_answer(outputs, Layout.COLUMNAR),  # type: ignore[misc]
                lambda chosen=chosen: orjson.dumps(chosen, option=orjson.OPT_SERIALIZE_NUMPY),  # type: ignore[misc]
            )


def requests() -> None:
    draw = np.random.default_rng(2)
    arrays = {name: draw.integers(0, 30_000, (14, width)).tolist() for name, width in INPUTS.items()}
    body = orjson.dumps({"signature_name": "serving_default", "inputs": arrays})
    types = {name: (f"{name}:0", int(types_pb2.DT_INT32)) for name in INPUTS}

    def read() -> None:
        found = json_fast.read(body)
        assert found is not None
        assert json_fast.predict_inputs(found, types) is not None

    compare(f"request of 14 rows, {len(body) / 1e3:.0f} kB", read, lambda: orjson.loads(body))


if __name__ == "__main__":
    answers()
    requests()
