"""What the mutations of JSON grow to."""

import random
from typing import Any

from benchmarks.fuzz.mutations import mutate_json


class Repeats(random.Random):
    """Always repeats an entry a thousand times: of the innermost list, then of the one around it, and so on."""

    def random(self) -> float:
        return 0.9

    def randrange(self, *_: Any) -> int:
        return 3

    def choice(self, seq: Any) -> Any:
        if not isinstance(seq[0], tuple):
            return seq[-1]
        self.depth = getattr(self, "depth", 4) - 1
        return next(place for place in seq[self.depth :] if isinstance(place[0], list))


def test_repeats_of_repeats_are_bounded() -> None:
    """Unbounded, three of them make gigabytes."""
    assert len(mutate_json(Repeats(), b"[[[[1]]]]")) < 1 << 23
