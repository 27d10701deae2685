"""What the process of a runner says of each run, one JSON line; what it is asked for is a `RunSpec`, one line too."""

from dataclasses import asdict, dataclass
from typing import Self

import orjson


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a run.

    Args:
        folder: the run folder; "" if there is none.
        error: one line; "" if the run came to its end.
        code: exit code of the error.
    """

    folder: str = ""
    error: str = ""
    code: int = 0

    def to_line(self) -> bytes:
        """The line for the process's standard output."""
        return orjson.dumps(asdict(self), option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """The reply in a line of `to_line`."""
        return cls(**orjson.loads(line))
