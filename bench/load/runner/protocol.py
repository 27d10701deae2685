"""The reply of a runner process to a run spec; both are one line of JSON."""

import json
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of a run.

    Args:
        folder: the run folder; "" if there is none.
        error: one line; "" if the run finished.
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
