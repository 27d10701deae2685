"""The part of TensorFlow's C API that serving needs, by ctypes (tensorflow/c/c_api.h, which is stable across releases).

The Python package `tensorflow` is not imported: its shared library alone starts in half a second instead of several,
and is the same C++ code as in tensorflow_model_server: SavedModel loader, session, kernels, error texts.
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
    """TF_Buffer: bytes that somebody else keeps alive."""

    _fields_ = [("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p)]


class Output(ctypes.Structure):
    """TF_Output: one output of an operation of a graph."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


# Calls that may take long, for which ctypes lets other Python threads run.
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

# Calls of nanoseconds: giving up the interpreter lock around them would cost more than they take.
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
    """The loaded library; each function of the tables above is an attribute."""

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
        raise AttributeError(f"{name} is not among the functions of the C API that are bound")


@cache
def library() -> Library:
    """TensorFlow's library, loaded at the first call.

    Raises:
        StartError: it is not installed or cannot be loaded.
    """
    # The library's own start-up lines (some call themselves errors) and what fails in a request are not for the
    # server's user; what fails in loading comes back as a status.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow takes oneDNN's kernels only where the processor has AVX512-VNNI; they are faster without it too.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # The thread that runs an operation takes a share of it, instead of waiting for others to do all.
    os.environ.setdefault("TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD", "1")
    # Sessions have threads of their own inside operations too (local_device.cc).
    os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise StartError("TensorFlow is not installed; install tensorflow 2.15.1")
    _limit_arenas()
    return Library(Path(spec.submodule_search_locations[0]))


class Status:
    """A TF_Status; one serves many calls of one thread."""

    def __init__(self) -> None:
        self._library = library()
        self.pointer = self._library.TF_NewStatus()

    def check(self) -> None:
        """Raises the StatusError that the last call left here, if it did."""
        code = self._library.TF_GetCode(self.pointer)
        if code:
            raise StatusError(Code(code), self._library.TF_Message(self.pointer))

    def __del__(self) -> None:
        self._library.TF_DeleteStatus(self.pointer)


@cache
def _libc() -> Any:
    return ctypes.CDLL(None)


def _limit_arenas() -> None:
    """Lets threads share glibc's arenas: each version brings threads, and an arena of its own keeps what one freed."""
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)


def return_free_memory() -> None:
    """Gives freed memory back to the system (glibc's malloc_trim); it would pile up from version to version."""
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)
