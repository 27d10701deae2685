"""The values in a pickle of PyTorch tensors, and the substitutes for the functions and classes that it names.

Nothing is imported: `NAMES` is all that a pickle can reach. Each function checks its arguments, since a pickle may call
it with anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

ByteOrder = Literal["<", ">"]

_MAX_DIMENSIONS: Final = 32
# Those of PyTorch take up to eight.
_MAX_ARGUMENTS: Final = 16

_DTYPES: Final[Mapping[str, "np.dtype[Any]"]] = {
    "Double": np.dtype(np.float64),
    "Float": np.dtype(np.float32),
    "Half": np.dtype(np.float16),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype(np.int64),
    "Int": np.dtype(np.int32),
    "Short": np.dtype(np.int16),
    "Char": np.dtype(np.int8),
    "Byte": np.dtype(np.uint8),
    "Bool": np.dtype(np.bool_),
    "Untyped": np.dtype(np.uint8),
}


@dataclass(frozen=True, slots=True)
class Storage:
    """Consecutive numbers in the file.

    Args:
        key: their name in the file.
        dtype: their type.
        size: numbers that the file must have under `key`.
        start: index of the first; above 0 only in a view of an old file.
        length: how many belong to the storage.
    """

    key: str
    dtype: "np.dtype[Any]"
    size: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage, within its bounds.

    Args:
        storage: of its numbers.
        dtype: their type; the storage's, except for an untyped one.
        offset: index of the first, in numbers of `dtype` from the storage's own first.
        shape: its dimensions.
        strides: numbers from one to the next, for each dimension.
    """

    storage: Storage
    dtype: "np.dtype[Any]"
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, data: memoryview, byte_order: ByteOrder) -> NDArray[Any]:
        """The tensor as a view of `data`, the bytes of the storage's key.

        Args:
            data: as many bytes as the storage's size asks for.
            byte_order: `<` or `>`.
        """
        width = self.dtype.itemsize
        # numpy cannot swap the bytes of ml_dtypes' bfloat16.
        stored = np.dtype(np.uint16) if self.dtype == ml_dtypes.bfloat16 else self.dtype
        start = self.storage.start * self.storage.dtype.itemsize + self.offset * width
        strides = tuple(stride * width for stride in self.strides)
        found: NDArray[Any] = np.ndarray(self.shape, stored.newbyteorder(byte_order), data, start, strides)
        # The machine's own byte order from here on.
        return found.astype(stored, copy=stored != self.dtype).view(self.dtype)


class Refusal(Exception):
    """The pickle has something that is not supported; the text says what."""


@dataclass(frozen=True, slots=True)
class Function:
    """Substitute for a function or class of PyTorch; `make` returns one of the values above."""

    name: str
    make: Callable[..., object]

    def call(self, given: tuple[object, ...]) -> object:
        """What it makes of the arguments.

        Raises:
            Refusal: there are more than any of PyTorch's functions takes, or they are not what it takes.
        """
        if len(given) > _MAX_ARGUMENTS:
            raise Refusal(f"a call of {self.name} with {len(given)} arguments")
        return self.make(*given)


@dataclass(frozen=True, slots=True)
class Type:
    """Substitute for a storage class or a dtype."""

    dtype: "np.dtype[Any]"


def _rebuild_tensor(storage: object, offset: object, shape: object, strides: object, *_rest: object) -> Tensor:
    """`torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`."""
    if not isinstance(storage, Storage):
        raise Refusal("a tensor without a storage")
    return _view(storage, storage.dtype, offset, shape, strides)


def _rebuild_tensor_v3(*given: object) -> Tensor:
    """`torch._utils._rebuild_tensor_v3`: the dtype is an argument, the storage untyped."""
    storage, offset, shape, strides, _grad, _hooks, kind, *_rest = given
    if not isinstance(storage, Storage) or not isinstance(kind, Type):
        raise Refusal("a tensor without a storage")
    return _view(storage, kind.dtype, offset, shape, strides)


def _view(storage: Storage, dtype: "np.dtype[Any]", offset: object, shape: object, strides: object) -> Tensor:
    """A tensor, checked to lie within its storage."""
    sizes, steps = counts(shape), counts(strides)
    (first,) = counts((offset,))
    if len(sizes) != len(steps) or len(sizes) > _MAX_DIMENSIONS:
        raise Refusal(f"a tensor of {len(sizes)} dimensions and {len(steps)} strides")
    held = storage.length * storage.dtype.itemsize // dtype.itemsize
    count = prod(sizes)
    last = first + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    if count and (count > held or last >= held):
        raise Refusal(f"a tensor {list(sizes)} that reaches beyond its storage of {held}")
    if not count:
        return Tensor(storage, dtype, 0, (0,), (1,))
    # The step of a dimension of one number is never taken, and a file may have any there.
    steps = tuple(step if size > 1 else 1 for size, step in zip(sizes, steps, strict=True))
    return Tensor(storage, dtype, first, sizes, steps)


def counts(values: object) -> tuple[int, ...]:
    """Whole numbers from 0 on."""
    if not isinstance(values, tuple) or not all(type(value) is int and 0 <= value < 1 << 62 for value in values):
        raise Refusal("a tensor whose shape is not made of whole numbers")
    return values


def _first(value: object, *_rest: object) -> object:
    """`_rebuild_parameter`, `_rebuild_parameter_with_state`, `Parameter`: a tensor with its training state."""
    if not isinstance(value, Tensor):
        raise Refusal("a parameter without a tensor")
    return value


_TENSOR_MAKERS: Final = (_rebuild_tensor, _rebuild_tensor_v3, _first)


def _rebuild_from_type(function: object, _kind: object, given: object, *_state: object) -> object:
    """`torch._tensor._rebuild_from_type_v2`: a tensor with attributes, which are dropped."""
    if not isinstance(function, Function) or function.make not in _TENSOR_MAKERS or not isinstance(given, tuple):
        raise Refusal("a tensor of an unknown kind")
    return function.call(given)


def _ordered_dict(pairs: object = ()) -> dict[object, object]:
    """`collections.OrderedDict`, with its pairs where Python 2 wrote it."""
    made: dict[object, object] = {}
    for pair in pairs if isinstance(pairs, list | tuple) else ():
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Refusal("an OrderedDict not made of pairs")
        made[dict_key(pair[0])] = pair[1]
    return made


def _size(values: object = ()) -> tuple[object, ...]:
    """`torch.Size`."""
    return tuple(values) if isinstance(values, list | tuple) else ()


def _nothing(*_given: object) -> None:
    """`torch.device`: not used."""


def _known_names() -> dict[str, object]:
    """Every name that a pickle may use, with its substitute."""
    functions: dict[str, Callable[..., object]] = {
        "collections.OrderedDict": _ordered_dict,
        "torch.Size": _size,
        "torch.device": _nothing,
        "torch.nn.parameter.Parameter": _first,
        "torch._utils._rebuild_tensor": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
        "torch._utils._rebuild_parameter": _first,
        "torch._utils._rebuild_parameter_with_state": _first,
        "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
        "torch.tensor._rebuild_from_type_v2": _rebuild_from_type,
        "torch.Tensor": _first,
    }
    known: dict[str, object] = {name: Function(name, make) for name, make in functions.items()}
    for name, dtype in _DTYPES.items():
        known |= {f"{module}.{name}Storage": Type(dtype) for module in ("torch", "torch.storage", "torch.cuda")}
        known[f"torch.{dtype.name}"] = Type(dtype)
    return known


NAMES: Final[Mapping[str, object]] = _known_names()


def dict_key(value: object) -> object:
    """A key of a dict: only values without nesting."""
    if not isinstance(value, str | int | float | bool | None):
        raise Refusal(f"a dict with a key of type {type(value).__name__}")
    return value


def part_of(whole: Storage, view: object) -> Storage:
    """A view of a storage, as files older than PyTorch 0.4 have them: `(key, offset, size)`."""
    if not isinstance(view, tuple) or len(view) != 3:
        raise Refusal("a malformed view")
    start, length = counts(view[1:])
    if start + length > whole.size:
        raise Refusal("a view that reaches beyond its storage")
    return Storage(whole.key, whole.dtype, whole.size, start, length)
