"""A pickle of PyTorch tensors, read by an interpreter that makes only tensors and plain containers.

A pickle is a program for a stack machine that may import and call anything. This machine knows the few instructions
that a state dict needs, imports nothing, and calls only the functions of `torch_values`. Everything else is refused by
name before it runs. The standard library's `pickletools` parses the instructions.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final, cast

from bench.bert.checkpoints.torch_values import (
    NAMES,
    Function,
    Refusal,
    Storage,
    Tensor,
    Type,
    counts,
    dict_key,
    part_of,
)
from bench.core.errors import UsageError
from bench.core.message_text import shown

MAX_TENSORS: Final = 100_000
# A BERT's pickle has some 100 KB; an instruction of one byte can make 64 of them.
_MAX_PICKLE: Final = 1 << 23
# Values in the arguments of all calls; a state dict has a few for each tensor.
_MAX_COPIED: Final = 1 << 23
_MAX_TEXT: Final = 1 << 16
_MAX_LINE: Final = 1 << 10

_MARK: Final = object()


class Bytes:
    """Bytes as a file, for consecutive pickles, with limits far above a state dict's sizes."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def read(self, count: int) -> bytes:
        """As many bytes as there are, `count` at most."""
        if count > _MAX_TEXT:
            raise ValueError(f"a text of {count} bytes")
        if self._at > _MAX_PICKLE:
            raise ValueError(f"more than {_MAX_PICKLE} bytes")
        found = bytes(self._data[self._at : self._at + max(count, 0)])
        self._at += len(found)
        return found

    def readline(self) -> bytes:
        """Up to the next line feed."""
        head = bytes(self._data[self._at : self._at + _MAX_LINE])
        found = head[: head.find(b"\n") + 1] or head
        self._at += len(found)
        return found


@dataclass
class Unpickled:
    """What a pickle held.

    Args:
        value: the object.
        storages: those that its tensors lie in, by key.
    """

    value: object
    storages: dict[str, Storage]


def unpickle(stream: Bytes, where: str) -> Unpickled:
    """Reads one pickle from `stream` and leaves the position at its end.

    Raises:
        UsageError: it is truncated, or has anything but tensors, numbers, text, lists and dicts, which has not run.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(cast("IO[bytes]", stream)):
            machine.step(opcode.name, argument)
        return Unpickled(machine.result(), machine.storages)
    except Refusal as refusal:
        raise UsageError(
            f"{where}: its pickle holds {refusal}; only plain tensors are read, and nothing is run; "
            "give weights saved from state_dict(), or safetensors"
        ) from refusal
    except (ValueError, IndexError, TypeError, KeyError, OverflowError, MemoryError) as error:
        reason = shown(str(error))
        raise UsageError(f"{where}: its pickle cannot be read ({reason}); give a complete checkpoint") from error


@dataclass
class _Machine:
    """The stack machine."""

    stack: list[Any] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    storages: dict[str, Storage] = field(default_factory=dict)
    tensors: int = 0
    copied: int = 0

    def result(self) -> object:
        """The one object that is left."""
        if len(self.stack) != 1:
            raise ValueError(f"{len(self.stack)} objects at its end instead of one")
        return self.stack[0]

    def step(self, name: str, argument: Any) -> None:
        """Executes one instruction."""
        if name in _IGNORED:
            return
        if name in _ARGUMENTS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _INSTRUCTIONS:
            _INSTRUCTIONS[name](self, argument)
        elif name == "INST":
            raise Refusal(shown(argument.replace(" ", ".")))
        else:
            raise Refusal(f"the instruction {name}")

    def look_up(self, module: object, name: object) -> None:
        """Pushes the substitute for a name; nothing is imported."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refusal("a name that is not text")
        found = NAMES.get(f"{module}.{name}")
        if found is None:
            raise Refusal(shown(f"{module}.{name}"))
        self.stack.append(found)

    def call(self) -> None:
        """Calls the substitute for a function or class."""
        given, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Function) or not isinstance(given, tuple):
            raise Refusal(f"a call of {type(function).__name__}")
        # A call of a few bytes may copy a list of millions, again and again.
        self.copied += sum(len(part) for part in given if isinstance(part, list | tuple))
        if self.copied > _MAX_COPIED:
            raise Refusal(f"calls with more than {_MAX_COPIED} values")
        made = function.call(given)
        self.tensors += isinstance(made, Tensor)
        if self.tensors > MAX_TENSORS:
            raise Refusal(f"more than {MAX_TENSORS} tensors")
        self.stack.append(made)

    def build(self) -> None:
        """Attributes of a dict (`_metadata` of a module) are dropped; nothing else has any."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise Refusal(f"attributes of {type(self.stack[-1]).__name__}")

    def storage(self) -> None:
        """A persistent id: `("storage", class, key, location, size[, view])`."""
        given = self.stack.pop()
        if not isinstance(given, tuple) or len(given) not in (5, 6) or given[0] != "storage":
            raise Refusal("a reference to something other than a storage")
        _, kind, key, _location, size, *view = given
        if not isinstance(kind, Type) or not isinstance(key, str | int):
            raise Refusal("a storage of an unknown type")
        (count,) = counts((size,))
        whole = Storage(str(key), kind.dtype, count, 0, count)
        known = self.storages.setdefault(whole.key, whole)
        if known != whole:
            raise Refusal(f"the storage {shown(whole.key)} twice, of different sizes or types")
        self.stack.append(part_of(whole, view[0]) if view and view[0] is not None else whole)

    def above_mark(self) -> list[Any]:
        """What was put on the stack since the last mark, which goes with it."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("no mark")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def fill_dict(self, items: list[Any]) -> None:
        """Keys and values in turn into the dict on top."""
        if len(items) % 2:
            raise ValueError("a key without a value")
        if not isinstance(self.stack[-1], dict):
            raise Refusal(f"items of {type(self.stack[-1]).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.stack[-1][dict_key(key)] = value

    def fill_list(self, items: list[Any]) -> None:
        """Values behind the list on top."""
        if not isinstance(self.stack[-1], list):
            raise Refusal(f"items of {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def tuple_of(self, count: int) -> None:
        """The `count` topmost as a tuple."""
        if len(self.stack) < count:
            raise ValueError("the stack is empty")
        items = self.stack[-count:]
        del self.stack[-count:]
        self.stack.append(tuple(items))

    def pop_two(self) -> list[Any]:
        """The two topmost, in the order they came."""
        last = self.stack.pop()
        return [self.stack.pop(), last]


def _new_dict(machine: _Machine, items: list[Any]) -> None:
    machine.stack.append({})
    machine.fill_dict(items)


_IGNORED: Final = frozenset(("PROTO", "FRAME", "STOP"))
_ARGUMENTS: Final = frozenset(
    (
        *("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    )
)
_CONSTANTS: Final[Mapping[str, Callable[[], object]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": lambda: _MARK,
}
_INSTRUCTIONS: Final[Mapping[str, Callable[[_Machine, Any], None]]] = {
    "GLOBAL": lambda machine, argument: machine.look_up(*argument.rsplit(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.look_up(*machine.pop_two()),
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.storage(),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.above_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "LIST": lambda machine, _: machine.stack.append(machine.above_mark()),
    "APPEND": lambda machine, _: machine.fill_list([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.fill_list(machine.above_mark()),
    "DICT": lambda machine, _: _new_dict(machine, machine.above_mark()),
    "SETITEM": lambda machine, _: machine.fill_dict(machine.pop_two()),
    "SETITEMS": lambda machine, _: machine.fill_dict(machine.above_mark()),
    "MEMOIZE": lambda machine, _: machine.memo.__setitem__(len(machine.memo), machine.stack[-1]),
    **dict.fromkeys(
        ("PUT", "BINPUT", "LONG_BINPUT"), lambda machine, at: machine.memo.__setitem__(at, machine.stack[-1])
    ),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, at: machine.stack.append(machine.memo[at])),
}
