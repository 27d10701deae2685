"""Pinning a server to cores: all of its threads, whatever happens to some meanwhile."""

import os
import threading
from collections.abc import Collection

import pytest

from bench.core.cores import allowed_cores
from bench.server.affinity import pin


def test_all_other_threads_are_pinned_when_one_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    pinned: list[int] = []

    def set_affinity(thread: int, cores: Collection[int]) -> None:
        if thread == threads[3].native_id:
            raise ProcessLookupError
        pinned.append(thread)

    monkeypatch.setattr(os, "sched_setaffinity", set_affinity)
    pin(os.getpid(), allowed_cores()[:1])
    stop.set()
    assert {thread.native_id for thread in threads} - set(pinned) == {threads[3].native_id}
