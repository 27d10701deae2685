"""A SavedModel in a session of the TensorFlow runtime."""

import ctypes
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.server.embedded.base.status import Code, StatusError, invalid_argument
from bench.server.embedded.runtime.c_api import STRING_BYTES, Buffer, Output, Status, library
from bench.server.embedded.runtime.tensors import DT_STRING, DTYPES, Tensor, dtype_name

Feeds = Sequence[tuple[str, Tensor]]

# An index has 9 digits at most, as C's integers hold.
_TENSOR_NAME: Final = re.compile(r"(.*):([0-9]{1,9})", re.DOTALL)
# Sets of tensors whose places are remembered; a client may ask for outputs in any order.
_MAX_PLACES: Final = 1000
TIMED_OUT: Final = "Timed out waiting for notification"


@dataclass(frozen=True)
class SessionOptions:
    """A session's threads and memory.

    Args:
        intra_op_threads: threads inside an operation; 0 lets TensorFlow choose.
        inter_op_threads: threads for operations in parallel; 0 lets TensorFlow choose.
        gpu_memory_fraction: fraction of a GPU's memory to allocate; 0 allocates nearly all.
    """

    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0

    def to_proto(self) -> bytes:
        """A serialized `tensorflow.ConfigProto` (config.proto: fields 2 and 5 are the threads, 6 the GPU options).

        Each session has its own threads (field 9): in a shared pool the operations of a fast model would queue behind
        those of a slow one.
        """
        gpu = b"\x09" + np.float64(self.gpu_memory_fraction).tobytes()
        proto = b"\x32" + bytes([len(gpu)]) + gpu
        return proto + b"\x10" + varint(self.intra_op_threads) + b"\x28" + varint(self.inter_op_threads) + b"\x48\x01"


class Session:
    """A loaded SavedModel. `run` may be called from any number of threads.

    Args:
        path: the version's folder.
        tags: the meta graph's tags.
        options: threads and memory.

    Attributes:
        meta_graph: the serialized MetaGraphDef.

    Raises:
        StatusError: the model cannot be loaded.
    """

    def __init__(self, path: Path, tags: Sequence[str], options: SessionOptions) -> None:
        tf, status = self._prepare(), Status()
        wanted = (ctypes.c_char_p * len(tags))(*[tag.encode() for tag in tags])
        session_options, buffer = tf.TF_NewSessionOptions(), tf.TF_NewBuffer()
        try:
            config = options.to_proto()
            tf.TF_SetConfig(session_options, config, len(config), status.pointer)
            status.check()
            self._session = tf.TF_LoadSessionFromSavedModel(
                session_options, None, str(path).encode(), wanted, len(tags), self._graph, buffer, status.pointer
            )
            status.check()
            loaded = Buffer.from_address(buffer)
            self.meta_graph: bytes = ctypes.string_at(loaded.data, loaded.length)
        except StatusError:
            tf.TF_DeleteGraph(self._graph)
            raise
        finally:
            tf.TF_DeleteBuffer(buffer)
            tf.TF_DeleteSessionOptions(session_options)

    def _prepare(self) -> Any:
        """Creates an empty graph; returns the library."""
        self._tf = library()
        self._places: dict[tuple[tuple[str, ...], tuple[str, ...]], _Places] = {}
        self._local = threading.local()
        self._graph = self._tf.TF_NewGraph()
        return self._tf

    def run(
        self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int | None = None, inline: bool = False
    ) -> list[Tensor]:
        """Feeds tensors by name and fetches others.

        Args:
            feeds: tensor name (`x:0`) and value.
            fetches: tensor names.
            timeout_ms: the run's timeout; None for none.
            inline: run all operations in this thread: saves hand-overs, but the timeout cannot stop it midway.

        Raises:
            StatusError: the run fails.
        """
        tf = self._tf
        key = (tuple([name for name, _ in feeds]), tuple(fetches))
        places = self._places.get(key) or self._look_up(*key)
        inputs = (ctypes.c_void_p * places.num_inputs)()
        outputs = (ctypes.c_void_p * places.num_outputs)()
        status = self._status()
        try:
            for place, (_, tensor) in enumerate(feeds):
                inputs[place] = _to_runtime(tf, tensor)
            options = ctypes.byref(_run_options(timeout_ms, inline))
            tf.TF_SessionRun(
                *(self._session, options),
                *(places.inputs, inputs, places.num_inputs),
                *(places.outputs, outputs, places.num_outputs),
                *(None, 0, None, status.pointer),
            )
            status.check()
            return [_from_runtime(tf, pointer) for pointer in outputs if pointer]
        finally:
            for pointer in (*inputs, *outputs):
                if pointer:
                    tf.TF_DeleteTensor(pointer)

    def close(self) -> None:
        """Frees the session; no run may be in progress."""
        status = Status()
        self._tf.TF_CloseSession(self._session, status.pointer)
        self._tf.TF_DeleteSession(self._session, status.pointer)
        self._tf.TF_DeleteGraph(self._graph)

    def _status(self) -> Status:
        status: Status | None = getattr(self._local, "status", None)
        if status is None:
            status = self._local.status = Status()
        return status

    def _look_up(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> "_Places":
        """The positions of the named tensors in the graph, looked up once per set of names."""
        fed, fetched = self._outputs(feeds, _feed_error), self._outputs(fetches, _fetch_error)
        places = _Places(fed, fetched, len(feeds), len(fetches))
        if len(self._places) >= _MAX_PLACES:
            self._places.clear()
        self._places[feeds, fetches] = places
        return places

    def _outputs(self, names: Sequence[str], refused: Callable[[str, int | None], StatusError]) -> Any:
        found = (Output * len(names))()
        for place, name in enumerate(names):
            operation, index = _parsed_name(name)
            pointer = self._tf.TF_GraphOperationByName(self._graph, operation)
            count = self._tf.TF_OperationNumOutputs(pointer) if pointer else None
            if count is None or index >= count:
                raise refused(name, count)
            found[place].operation, found[place].index = pointer, index
        return found


def _parsed_name(name: str) -> tuple[bytes, int]:
    """The operation and the output's index of a tensor's name; without a valid index all of it names the operation."""
    found = _TENSOR_NAME.fullmatch(name)
    operation, index = (found[1], int(found[2])) if found else (name, 0)
    # The runtime would take the name to end at a NUL.
    return b"" if "\0" in operation else operation.encode(errors="replace"), index


def _feed_error(name: str, count: int | None) -> StatusError:
    """The error of a fed tensor that the graph lacks; its operation has `count` outputs or is missing (subgraph.cc)."""
    if count is None:
        return StatusError(Code.NOT_FOUND, f"FeedInputs: unable to find feed output {name}")
    return invalid_argument(f"FeedInputs: {name} should have output index < {count}")


def _fetch_error(name: str, count: int | None) -> StatusError:
    """As `_feed_error`, for a fetched tensor."""
    if count is None:
        return StatusError(Code.NOT_FOUND, f"FetchOutputs node {name}: not found")
    if count:
        return invalid_argument(f"FetchOutputs {name}: output index too large, must be < {count}")
    return invalid_argument(
        f"Tried to fetch data for '{name}', which produces no output.  To run to a node but not fetch any data, pass "
        f"'{name}' as an argument to the 'target_node_names' argument of the Session::Run API."
    )


# `tensorflow.ConfigProto` with a device_count (field 1, a map) of no GPU.
_CPU_ONLY: Final = b"\x0a\x07\x0a\x03GPU\x10\x00"


class GraphSession(Session):
    """A graph without variables, on the CPU: the first session on a GPU determines how much of its memory is allocated.

    Args:
        graph_def: a serialized GraphDef.

    Raises:
        StatusError: the runtime refuses the graph.
    """

    def __init__(self, graph_def: bytes) -> None:
        tf, status = self._prepare(), Status()
        buffer = tf.TF_NewBufferFromString(graph_def, len(graph_def))
        import_options, session_options = tf.TF_NewImportGraphDefOptions(), tf.TF_NewSessionOptions()
        try:
            tf.TF_GraphImportGraphDef(self._graph, buffer, import_options, status.pointer)
            status.check()
            tf.TF_SetConfig(session_options, _CPU_ONLY, len(_CPU_ONLY), status.pointer)
            status.check()
            self._session = tf.TF_NewSession(self._graph, session_options, status.pointer)
            status.check()
        except StatusError:
            tf.TF_DeleteGraph(self._graph)
            raise
        finally:
            tf.TF_DeleteBuffer(buffer)
            tf.TF_DeleteImportGraphDefOptions(import_options)
            tf.TF_DeleteSessionOptions(session_options)


@dataclass(frozen=True, slots=True)
class _Places:
    """The positions of a set of tensors in the graph."""

    inputs: Any
    outputs: Any
    num_inputs: int
    num_outputs: int


_SHORT_VARINTS: Final = [bytes([value]) for value in range(0x80)]


def varint(value: int) -> bytes:
    """A non-negative integer as a varint of protocol buffers."""
    if value < 0x80:
        return _SHORT_VARINTS[value]
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _run_options(timeout_ms: int | None, inline: bool) -> Buffer:
    """`tensorflow.RunOptions`: field 2 is timeout_in_ms, field 3 inter_op_thread_pool, where -1 is inline."""
    data = b"" if timeout_ms is None else b"\x10" + varint(max(timeout_ms, 1))
    if inline:
        data += b"\x18" + varint((1 << 64) - 1)
    buffer = Buffer(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data), None)
    buffer.data_owner = data  # lives as long as the structure that points to it
    return buffer


def _to_runtime(tf: Any, tensor: Tensor) -> int:
    """A new TF_Tensor with a copy of the values."""
    shape = tensor.shape
    rank = len(shape)
    dims = (ctypes.c_int64 * rank)(*shape)
    if isinstance(tensor.values, list):
        return _strings_to_runtime(tf, dims, rank, tensor.values)
    values = tensor.values
    pointer: int = tf.TF_AllocateTensor(tensor.dtype, dims, rank, values.nbytes)
    if not pointer:
        raise StatusError(Code.RESOURCE_EXHAUSTED, f"no memory for a tensor of {values.nbytes} bytes")
    ctypes.memmove(tf.TF_TensorData(pointer), values.ctypes.data, values.nbytes)
    return pointer


def _strings_to_runtime(tf: Any, dims: Any, rank: int, values: Sequence[bytes]) -> int:
    pointer: int = tf.TF_AllocateTensor(DT_STRING, dims, rank, STRING_BYTES * len(values))
    if not pointer:
        raise StatusError(Code.RESOURCE_EXHAUSTED, f"no memory for a tensor of {len(values)} strings")
    at = tf.TF_TensorData(pointer)
    for value in values:
        tf.TF_StringInit(at)
        tf.TF_StringCopy(at, value, len(value))
        at += STRING_BYTES
    return pointer


def _from_runtime(tf: Any, pointer: int) -> Tensor:
    """A copy of a TF_Tensor."""
    dtype = tf.TF_TensorType(pointer)
    shape = tuple([tf.TF_Dim(pointer, axis) for axis in range(tf.TF_NumDims(pointer))])
    data, length = tf.TF_TensorData(pointer), tf.TF_TensorByteSize(pointer)
    if dtype == DT_STRING:
        last = (data or 0) + length
        cells = range(data or 0, last, STRING_BYTES)
        return Tensor(
            dtype,
            shape,
            [ctypes.string_at(tf.TF_StringGetDataPointer(cell), tf.TF_StringGetSize(cell)) for cell in cells],
        )
    known = DTYPES.get(dtype)
    if known is None:
        raise invalid_argument(f"a tensor of type {dtype_name(dtype)} cannot leave the server")
    return Tensor(dtype, shape, np.frombuffer(ctypes.string_at(data, length) if length else b"", known.array))
