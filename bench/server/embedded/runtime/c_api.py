"""The part of TensorFlow's C API that serving needs, by ctypes (tensorflow/c/c_api.h, which is stable across releases).

The Python package `tensorflow` is not imported: its shared library loads in half a second instead of several, and is
the C++ code of tensorflow_model_server: SavedModel loader, session, kernels and error texts.
"""

import ctypes
import importlib.util
import os
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, Final

from bench.server.embedded.base.status import Code, StartError, StatusError

STRING_BYTES: Final = 24  # sizeof(TF_TString)
_M_ARENA_MAX: Final = -8  # malloc.h
_ARENAS: Final = 2


class Buffer(ctypes.Structure):
    """TF_Buffer: bytes that it does not own."""

    _fields_ = [("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p)]


class Output(ctypes.Structure):
    """TF_Output: one output of an operation of a graph."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


# Long calls: ctypes releases the interpreter lock.
_LONG: Final[dict[str, tuple[Any, list[Any]]]] = {
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, c_void_p, c_void_p],
    ),
    "TF_SessionRun": (
        None,
        [
            *(c_void_p, c_void_p),
            *(c_void_p, c_void_p, c_int),
            *(c_void_p, c_void_p, c_int),
            *(c_void_p, c_int, c_void_p, c_void_p),
        ],
    ),
    "TF_NewSession": (c_void_p, [c_void_p, c_void_p, c_void_p]),
    "TF_CloseSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteGraph": (None, [c_void_p]),
}

# Calls of nanoseconds: releasing the interpreter lock would cost more than the call.
_SHORT: Final[dict[str, tuple[Any, list[Any]]]] = {
    "TF_Version": (c_char_p, []),
    "TF_NewStatus": (c_void_p, []),
    "TF_DeleteStatus": (None, [c_void_p]),
    "TF_GetCode": (c_int, [c_void_p]),
    "TF_Message": (c_char_p, [c_void_p]),
    "TF_NewBuffer": (c_void_p, []),
    "TF_NewBufferFromString": (c_void_p, [c_char_p, c_size_t]),
    "TF_DeleteBuffer": (None, [c_void_p]),
    "TF_NewGraph": (c_void_p, []),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_DeleteSessionOptions": (None, [c_void_p]),
    "TF_SetConfig": (None, [c_void_p, c_char_p, c_size_t, c_void_p]),
    "TF_NewImportGraphDefOptions": (c_void_p, []),
    "TF_DeleteImportGraphDefOptions": (None, [c_void_p]),
    "TF_GraphImportGraphDef": (None, [c_void_p, c_void_p, c_void_p, c_void_p]),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_OperationNumOutputs": (c_int, [c_void_p]),
    "TF_AllocateTensor": (c_void_p, [c_int, c_void_p, c_int, c_size_t]),
    "TF_DeleteTensor": (None, [c_void_p]),
    "TF_TensorType": (c_int, [c_void_p]),
    "TF_NumDims": (c_int, [c_void_p]),
    "TF_Dim": (c_int64, [c_void_p, c_int]),
    "TF_TensorByteSize": (c_size_t, [c_void_p]),
    "TF_TensorData": (c_void_p, [c_void_p]),
    "TF_StringInit": (None, [c_void_p]),
    "TF_StringCopy": (None, [c_void_p, c_char_p, c_size_t]),
    "TF_StringGetDataPointer": (c_void_p, [c_void_p]),
    "TF_StringGetSize": (c_size_t, [c_void_p]),
    "TF_StringDealloc": (None, [c_void_p]),
}


class Library:
    """The loaded library; the functions above are its attributes."""

    def __init__(self, folder: Path) -> None:
        try:
            ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"), mode=ctypes.RTLD_GLOBAL)
            path = str(folder / "libtensorflow_cc.so.2")
            long, short = ctypes.CDLL(path), ctypes.PyDLL(path)
        except OSError as error:
            raise StartError(f"TensorFlow's library cannot be loaded ({error}); install tensorflow 2.15.1") from error
        for library, functions in ((long, _LONG), (short, _SHORT)):
            for name, (result, arguments) in functions.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
                setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the function {name} of the C API is not bound")


@cache
def library() -> Library:
    """TensorFlow's library, loaded by the first call.

    Raises:
        StartError: it is not installed or cannot be loaded.
    """
    # Hides the library's start-up lines, some of which are logged as errors, and failures of requests; failures of
    # loading are returned as a status.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # By default TensorFlow uses oneDNN's kernels only on processors with AVX512-VNNI; they are faster on others too.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Compiled kernels that all threads share; what no longer fits is compiled, and kept, once for each thread. 250
    # sentences of a small model need 1,500, and the default is 1,024.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4096")
    # Each session has its own threads inside operations too (local_device.cc).
    os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise StartError("TensorFlow is not installed; install tensorflow 2.15.1")
    _limit_arenas()
    return Library(Path(spec.submodule_search_locations[0]))


class Status:
    """A TF_Status, reused by the calls of one thread."""

    def __init__(self) -> None:
        self._library = library()
        self.pointer = self._library.TF_NewStatus()

    def check(self) -> None:
        """Raises the StatusError of the last call, if it failed."""
        code = self._library.TF_GetCode(self.pointer)
        if code:
            raise StatusError(Code(code), self._library.TF_Message(self.pointer))

    def __del__(self) -> None:
        self._library.TF_DeleteStatus(self.pointer)


@cache
def _libc() -> Any:
    return ctypes.CDLL(None)


def _limit_arenas() -> None:
    """Limits glibc's arenas: each version has threads, and an arena per thread would retain freed memory."""
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)


def return_free_memory() -> None:
    """Returns freed memory to the system (glibc's malloc_trim); it would accumulate from version to version."""
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)
