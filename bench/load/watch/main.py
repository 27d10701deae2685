"""The watcher: `python -m bench.load.watch.main`; a task and looks on standard input, answers on standard output."""

import os
import sys

from bench.core.errors import BenchError, one_line
from bench.load.watch.estimates import look_at, predict
from bench.load.watch.protocol import ENCODER, LookRequest, Reply, Task, decoder_of
from bench.objectives.stopping import Look

# The run that it looks at goes first.
_NICE = 10


def main() -> None:
    """Answers each line; ends at the end of the input."""
    os.nice(_NICE)
    lines = iter(sys.stdin.buffer.readline, b"")
    task = decoder_of(Task).decode(next(lines))
    assert isinstance(task, Task)
    _answer(predict(task))
    requests = decoder_of(LookRequest)
    for line in lines:
        request = requests.decode(line)
        assert isinstance(request, LookRequest)
        try:
            _answer(Reply(look_at(request, task)))
        except (BenchError, OSError) as error:
            _answer(Reply(Look(0.0), one_line(error)))


def _answer(value: object) -> None:
    sys.stdout.buffer.write(ENCODER.encode(value) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
