"""A proxy that spoils answers, on REST and gRPC: which, and how, is known, so that a checker can be held against it."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import orjson
import requests

from bench.serving.messages import PREDICT_METHOD, PredictResponse
from bench.serving.tensors import from_proto, to_proto
from tests.support.programmed_servers import grpc_server, rest_server

Rows = list[list[float]]


def drift(rows: Rows) -> Rows:
    """One value off by a thousandth and more."""
    rows[0][0] += 0.003
    return rows


def truncate(rows: Rows) -> Rows:
    """The last value of each row is missing."""
    return [row[:-1] for row in rows]


def not_a_number(rows: Rows) -> Rows:
    rows[-1][0] = float("nan")
    return rows


def reshape(rows: Rows) -> Rows:
    """A row too many."""
    return [*rows, rows[0]]


@dataclass
class Spoiler:
    """Decides by turns what happens to an answer, and counts it.

    Args:
        every: one answer in so many is spoilt in each way.
    """

    every: int = 100
    done: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: list[Rows] = field(default_factory=list)

    WAYS = ("drift", "truncated", "shape", "not_finite", "swap", "garbled")

    def spoil(self, rows: Rows) -> Rows | None:
        """The rows to answer with; None for bytes that nobody can read."""
        with self.lock:
            self.done["answers"] += 1
            turn = self.done["answers"] % self.every
            way = self.WAYS[turn] if turn < len(self.WAYS) else ""
            other = next((kept for kept in reversed(self.kept) if kept != rows), None)
            self.kept = [*self.kept[-20:], rows]
            if way == "swap" and other is None:
                way = ""
            self.done[way or "right"] += 1
        if way == "garbled":
            return None
        if way == "swap":
            return other
        changes: dict[str, Callable[[Rows], Rows]] = {
            "drift": drift,
            "truncated": truncate,
            "shape": reshape,
            "not_finite": not_a_number,
        }
        return changes[way]([list(row) for row in rows]) if way else rows


@contextmanager
def spoiling_proxy(behind: dict[str, str], spoiler: Spoiler) -> Iterator[dict[str, str]]:
    """Addresses of a proxy before a server's two endpoints; everything but Predict passes."""
    local = threading.local()
    channel = grpc.insecure_channel(behind["grpc"])

    def rest(method: str, path: str, body: bytes, handler: Any) -> Any:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        answer = local.session.request(method, behind["rest"] + path, data=body)
        if method != "POST" or answer.status_code != 200:
            return answer.status_code, answer.content
        rows = spoiler.spoil(orjson.loads(answer.content)["predictions"])
        if rows is None:
            return 200, answer.content[: len(answer.content) // 2] + b"\x00\xff garbled"
        text = ", ".join(
            "[" + ", ".join("NaN" if value != value else repr(value) for value in row) + "]" for row in rows
        )
        return 200, f'{{"predictions": [{text}\n]}}'.encode()

    def call(method: str, message: Any, context: Any) -> Any:
        answer = channel.unary_unary(method)(message, timeout=10)
        if method != PREDICT_METHOD:
            return answer
        response = PredictResponse.FromString(answer)
        rows = spoiler.spoil(from_proto(response.outputs["log_prob"]).tolist())
        if rows is None:
            return answer[:-7]
        response.outputs["log_prob"].CopyFrom(to_proto(np.array(rows, np.float32)))
        return response.SerializeToString()

    with ExitStack() as stack:
        stack.callback(channel.close)
        yield {"rest": stack.enter_context(rest_server(rest)), "grpc": stack.enter_context(grpc_server(call))}
