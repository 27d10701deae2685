"""A REST server that answers rightly, one request at a time, and once stops answering for a while.

    python -m benchmarks.freezing_server MODEL_DIR AFTER LENGTH SERVICE

AFTER the first prediction (seconds) it freezes for LENGTH; each prediction takes SERVICE. Prints its address.
"""

import asyncio
import sys
import time
from pathlib import Path

from bench.load.selftest.null_server import Answers, NullRest, _response


class FreezingRest(NullRest):
    """The null server's face with a service time; the event loop itself is held up, as a stuck server's would be."""

    freeze_at: float | None = None
    after = length = service = 0.0

    def _answer(self, line: bytes, body: bytes) -> None:
        if line.startswith(b"POST"):
            cls = type(self)
            if cls.freeze_at is None:
                cls.freeze_at = time.perf_counter() + cls.after
                asyncio.get_running_loop().call_later(cls.after, time.sleep, cls.length)
            time.sleep(cls.service)
        super()._answer(line, body)


async def serve(model_dir: Path) -> None:
    answers = Answers(model_dir, "score", 1)
    state, _ = answers.state()
    posts = {body: _response(200, reply) for body, reply in answers.rest.items()}
    gets = {b"/v1/models/bert": _response(200, state)}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: FreezingRest(posts, gets), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    FreezingRest.after, FreezingRest.length, FreezingRest.service = map(float, sys.argv[2:5])
    asyncio.run(serve(Path(sys.argv[1])))
