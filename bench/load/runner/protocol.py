"""What the process of a runner says of each run, one JSON line; what it is asked for is a `RunSpec`, one line too."""

import json
from dataclasses import asdict, dataclass
from typing import Self


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
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """The reply in a line of `to_line`."""
        return cls(**json.loads(line))
