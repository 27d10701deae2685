"""The request records of a run as a pandas frame."""

from typing import Final

import pandas as pd
import pyarrow as pa

from bench.results import parquet
from bench.results.run_reader import Run

# Integers that may be absent: with numpy's types pandas would turn them into floats.
_NULLABLE: Final = {
    "bytes_out": {pa.uint32(): pd.UInt32Dtype()}.get,
    "bytes_in": {pa.uint32(): pd.UInt32Dtype()}.get,
    "version": {pa.int64(): pd.Int64Dtype()}.get,
}


def request_frame(run: Run) -> pd.DataFrame:
    """One row a request, in the order in which the requests ended; the columns of `bench.results.records.COLUMNS`.

    A run with traced requests has `trace_id` too, absent for those that were not traced.

    Absent is NA. `outcome`, `wrong_kind`, `protocol` and `signature` are categories.

    Raises:
        UsageError: the records cannot be read.
    """
    columns = run.columns(parquet.COLUMNS)
    batch = parquet.to_arrow(columns, run.signatures)
    frame = pd.DataFrame(
        {name: batch.column(name).to_pandas(types_mapper=_NULLABLE.get(name)) for name in parquet.COLUMNS}
    )
    if run.manifest.traces is not None:
        requests = zip(frame["due"], frame["sentence"], frame["protocol"], strict=True)
        frame["trace_id"] = [run.manifest.traces.trace_id(*request) for request in requests]
    return frame
