"""The trace contexts of a run's requests: the header `traceparent` of https://www.w3.org/TR/trace-context/, version 00.

A request's ids follow from the run's key and the request's record, so that they are not stored: the trace of a slow
request is found from its row. Whether a request is traced follows from its ids too.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

HEADER: Final = "traceparent"
_REQUEST: Final = struct.Struct("<dIB")
_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class TraceContexts:
    """The trace contexts of a run.

    Args:
        key: of the run, unlike that of any other run.
        share: of the requests that are traced, 0 to 1.
    """

    key: str
    share: float

    def traceparent(self, due: float, sentence: int, protocol: str) -> str | None:
        """The header of a request; None if it is not traced.

        Args:
            due: when it is due, seconds since the run began.
            sentence: index of its first sentence in the golden file.
            protocol: `rest` or `grpc`.
        """
        request = _REQUEST.pack(due, sentence, protocol == "grpc")
        ids = hashlib.blake2b(request, key=self.key.encode(), digest_size=_TRACE_BYTES + _SPAN_BYTES).digest()
        trace, span = ids[:_TRACE_BYTES], ids[_TRACE_BYTES:]
        if int.from_bytes(span) >= self.share * 2 ** (8 * _SPAN_BYTES):
            return None
        return f"00-{trace.hex()}-{span.hex()}-01"

    def trace_id(self, due: float, sentence: int, protocol: str) -> str | None:
        """The trace id of a request, 32 hexadecimal digits; None if it is not traced."""
        header = self.traceparent(due, sentence, protocol)
        return None if header is None else header.split("-")[1]
