"""A clock that is set, by hand or by NTP, must not change what is measured."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATES = {
    # The comparison of clocks of several machines, which is about this one.
    "bench/load/engine/clock_comparison.py",
    # Compares with Locust's own time of the last message.
    "bench/load/locust_adapter/worker.py",
    # The header Date.
    "bench/server/embedded/net/http_message.py",
}


def readings(text: str) -> Iterator[str]:
    """The calls of `time.time` and `time.time_ns` in a module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("time.time", "time.time_ns"):
            yield node.attr


def test_no_duration_comes_from_a_clock_that_can_be_set() -> None:
    """All others use the monotonic clocks; moments of the day are stored by `datetime`, and never subtracted."""
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "bench").rglob("*.py")}
    found = {name for name, text in texts.items() if "time.time" in text and any(readings(text))}
    assert found == DATES
    assert not [name for name, text in texts.items() if "from time import" in text]
