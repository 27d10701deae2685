"""The embedded server with something wrong with it, to be found by a gate.

`degraded(folder, stretch=1.1)` writes an executable that takes `tensorflow_model_server`'s flags, for `binary:PATH`.
Run as a module, this file is that server.
"""

import random
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[2]

# What a request spends outside `predict` and on loopback, so that the client sees the whole stretch.
AROUND = 0.0005


@dataclass(frozen=True)
class Fault:
    """What is wrong.

    Args:
        stretch: every answer takes this many times its time.
        errors: share of requests that are refused as unavailable.
        wrong: share of answers with one value changed.
        tail: share of answers that are late.
        late: by how many seconds those are.
    """

    stretch: float = 1.0
    errors: float = 0.0
    wrong: float = 0.0
    tail: float = 0.0
    late: float = 0.0


def degraded(folder: Path, **fault: float) -> str:
    """A target `binary:PATH` of a server with this fault."""
    words = [f"{name}={value!r}" for name, value in fault.items()]
    path = folder / ("server-" + ("-".join(words) or "good"))
    command = shlex.join([sys.executable, "-m", "tests.support.degraded_server", *words])
    path.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {command} -- "$@"\n')
    path.chmod(0o755)
    return f"binary:{path}"


def _faulty(run: Callable[..., Any], fault: Fault, draw: random.Random) -> Callable[..., Any]:
    """`bench.server.embedded.api.predict.predict`, which answers for both endpoints, with the fault."""
    from bench.server.embedded.base.status import Code, StatusError

    def faulty(*args: Any) -> Any:
        start = time.perf_counter()
        if draw.random() < fault.errors:
            raise StatusError(Code.UNAVAILABLE, "out of luck")
        outputs = run(*args)
        if draw.random() < fault.wrong:
            alias, tensor = outputs[0]
            values = tensor.values.copy()
            values.flat[0] -= 0.5
            outputs = [(alias, replace(tensor, values=values)), *outputs[1:]]
        more = (fault.stretch - 1) * (time.perf_counter() - start + AROUND)
        more += fault.late if draw.random() < fault.tail else 0.0
        if more > 0:
            time.sleep(more)
        return outputs

    return faulty


def main(words: list[str]) -> None:
    """Serves with the fault in the words before `--`."""
    from bench.server.embedded import server
    from bench.server.embedded.api import predict
    from bench.server.embedded.manager import warmup

    split = words.index("--")
    fault = Fault(**{name: float(value) for name, value in (word.split("=") for word in words[:split])})
    # A model whose warm-up fails would not be served at all.
    warmup.predict = SimpleNamespace(**vars(predict))  # type: ignore[assignment, attr-defined]
    # Each process has luck of its own: a gate starts many, and the same draws would spare the same requests in all.
    predict.predict = _faulty(predict.predict, fault, random.Random())
    server.exit_now(server.main(words[split + 1 :]))


if __name__ == "__main__":
    main(sys.argv[1:])
