"""Files of `torch.save`, read without PyTorch: the zip archive of today and the form before PyTorch 1.6.

zip: `NAME/data.pkl` is the pickle, `NAME/data/KEY` the bytes of each storage, uncompressed, `NAME/byteorder` their
order. Older: pickles of a magic number, a version, the machine's sizes, the object and the list of its storages' keys;
then for each key the number of its elements (int64) and its bytes, little-endian. Source: torch/serialization.py.

The file is mapped, not read: a tensor takes memory only when it is used. Declared sizes are checked against the file
before memory is allocated.
"""

import mmap
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bench.bert.checkpoints.torch_pickle import Bytes, unpickle
from bench.bert.checkpoints.torch_values import ByteOrder, Storage, Tensor
from bench.core.bounded_files import open_regular
from bench.core.errors import UsageError
from bench.core.message_text import shown

_ZIP: Final = b"PK\x03\x04"
_PICKLE: Final = b"\x80"
_TAR_AT: Final = slice(257, 262)
_TAR: Final = b"ustar"
_MAGIC: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL: Final = 1001
_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")
_MAX_RECORDS: Final = 200_000
# Longer numbers have no text that is worth its time.
_MAX_KEY_BITS: Final = 64
_BYTE_ORDERS: Final[Mapping[bytes, ByteOrder]] = {b"little": "<", b"big": ">"}
# Keys under which trainers store the state dict beside other things.
_WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "module")


@dataclass(frozen=True, slots=True)
class TorchTensor:
    """A tensor in a file; `numpy.asarray` reads it."""

    tensor: Tensor
    data: memoryview
    byte_order: ByteOrder

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""
        return self.tensor.shape

    def __array__(self, dtype: DTypeLike = None) -> NDArray[Any]:
        found = self.tensor.array(self.data, self.byte_order)
        return found if dtype is None else found.astype(dtype)


def read_torch_file(path: Path) -> dict[str, TorchTensor]:
    """The tensors of a state dict that `torch.save` wrote, by name.

    Raises:
        UsageError: the file cannot be read, is not one of these, is cut, or holds anything but a state dict; nothing
            that it asks for is run.
    """
    data = _map(path)
    where = str(path)
    if bytes(data[:4]) == _ZIP:
        value, storages, order = _read_zip(path, data)
    elif bytes(data[:1]) == _PICKLE:
        value, storages = _read_legacy(data, where)
        order = "<"
    elif bytes(data[_TAR_AT]) == _TAR:
        raise UsageError(f"{path} is in the form before PyTorch 0.2; save it again with a newer one")
    else:
        raise UsageError(f"{path} is not a file of torch.save; give a complete checkpoint")
    return {
        name: TorchTensor(tensor, storages[tensor.storage.key], order)
        for name, tensor in _state_dict(value, where).items()
    }


def _map(path: Path) -> memoryview:
    try:
        with open_regular(path) as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        reason = "it is empty" if isinstance(error, ValueError) else error.strerror
        raise UsageError(f"{path} cannot be read ({reason}); give a complete checkpoint") from error


def _state_dict(value: object, where: str) -> dict[str, Tensor]:
    """The tensors by name: of the object itself, or under one of `_WRAPPERS`.

    A trainer may store a loose tensor, such as the loss, beside the state dict; names of a model's tensors have dots.
    """
    if not isinstance(value, dict):
        raise UsageError(f"{where} holds a {type(value).__name__}, not a state dict; save it from state_dict()")
    found = _tensors(value)
    if not any("." in name for name in found):
        inside = {name: tensors for name in _WRAPPERS if (tensors := _tensors(value.get(name)))}
        if len(inside) != 1 and (inside or not found):
            there = ", ".join(list(inside) or [_key_name(key) for key in islice(value, 3)]) or "nothing"
            raise UsageError(f"{where} is not a state dict: it holds {there}; save it from state_dict()")
        found = next(iter(inside.values()), found)
    for name in found:
        if not name.isprintable():
            raise UsageError(f"{where}: a tensor is named {shown(name)!r}; give the weights of a BERT")
    return found


def _tensors(value: object) -> dict[str, Tensor]:
    if not isinstance(value, dict):
        return {}
    return {name: tensor for name, tensor in value.items() if isinstance(name, str) and isinstance(tensor, Tensor)}


def _key_name(key: object) -> str:
    """A key of a dict for a message."""
    return shown(str(key)) if _is_short(key) else type(key).__name__


def _is_short(key: object) -> bool:
    """Whether a key that is not text has a short one."""
    return not isinstance(key, int) or key.bit_length() <= _MAX_KEY_BITS


def _read_zip(path: Path, data: memoryview) -> tuple[object, Mapping[str, memoryview], ByteOrder]:
    """The object, the bytes of its storages, and their order."""
    records = _records(path, data)
    roots = [name.removesuffix("data.pkl") for name in records if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise UsageError(f"{path} is a zip archive but not one of torch.save; give a checkpoint folder as released")
    root = roots[0]
    order = bytes(records.get(f"{root}byteorder", memoryview(b"little")))
    if order not in _BYTE_ORDERS:
        raise UsageError(f"{path}: unknown byte order {shown(order.decode('latin-1'))}; give a complete checkpoint")
    read = unpickle(Bytes(records[f"{root}data.pkl"]), str(path))
    storages = {key: records.get(f"{root}data/{key}", memoryview(b"")) for key in read.storages}
    for key, storage in read.storages.items():
        _check_size(storage, len(storages[key]), str(path))
    return read.value, storages, _BYTE_ORDERS[order]


def _check_size(storage: Storage, held: int, where: str) -> None:
    wanted = storage.size * storage.dtype.itemsize
    if held != wanted:
        raise UsageError(
            f"{where}: storage {shown(storage.key)} should have {wanted} bytes and has {held}; "
            "give a complete checkpoint"
        )


def _records(path: Path, data: memoryview) -> dict[str, memoryview]:
    """The archive's files by name, as views of `data`."""
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, OverflowError, NotImplementedError, struct.error) as error:
        raise UsageError(f"{path} cannot be read ({error}); give a complete checkpoint") from error
    if len(listed) > _MAX_RECORDS:
        raise UsageError(f"{path} holds {len(listed)} files; a BERT's has fewer than 1000; give the weights of a BERT")
    if any(info.filename.endswith("/constants.pkl") for info in listed):
        raise UsageError(f"{path} is a TorchScript program, not a state dict; save it from state_dict()")
    records: dict[str, memoryview] = {}
    for info in listed:
        if info.filename in records:
            raise UsageError(f"{path} holds {shown(info.filename)} twice; give a complete checkpoint")
        records[info.filename] = _record(path, data, info)
    return records


def _record(path: Path, data: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """One file of the archive, which is stored uncompressed."""
    name = shown(info.filename)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
        raise UsageError(f"{path}: {name} is compressed or encrypted, which torch.save does not do; save it again")
    header = data[info.header_offset : info.header_offset + _LOCAL_HEADER.size]
    if len(header) == _LOCAL_HEADER.size:
        signature, name_size, extra_size = _LOCAL_HEADER.unpack(header)
        start = info.header_offset + _LOCAL_HEADER.size + name_size + extra_size
        if signature == _ZIP and start + info.file_size <= len(data):
            return data[start : start + info.file_size]
    raise UsageError(f"{path}: {name} does not lie in the file; give a complete checkpoint")


def _read_legacy(data: memoryview, where: str) -> tuple[object, Mapping[str, memoryview]]:
    """The object and the bytes of its storages."""
    stream = Bytes(data)
    if (unpickle(stream, where).value, unpickle(stream, where).value) != (_MAGIC, _PROTOCOL):
        raise UsageError(f"{where} is a pickle but not one of torch.save; give a checkpoint folder as released")
    unpickle(stream, where)  # the sizes of the writer's C types, which nothing here depends on
    read = unpickle(stream, where)
    names = _storage_names(unpickle(stream, where).value, read.storages, where)
    storages: dict[str, memoryview] = {}
    at = stream.tell()
    for key in names:
        storage = read.storages[key]
        size = storage.size * storage.dtype.itemsize
        head = data[at : at + 8]
        if len(head) != 8 or int(np.frombuffer(head, "<i8")[0]) != storage.size:
            raise UsageError(f"{where}: storage {shown(key)} is cut or of another size; give a complete checkpoint")
        at += 8
        storages[key] = data[at : at + size]
        _check_size(storage, len(storages[key]), where)
        at += size
    return read.value, storages


def _storage_names(keys: object, storages: Mapping[str, Storage], where: str) -> list[str]:
    """The names of an older file's storages, in the order in which they lie in it.

    Args:
        keys: the pickled list, which may hold anything: of text and short numbers only is a text made.
        storages: those of the tensors.
        where: names the file in messages.

    Raises:
        UsageError: the list is not that of `storages`.
    """
    if isinstance(keys, list) and all(isinstance(key, str | int) and _is_short(key) for key in keys):
        names = list(map(str, keys))
        if sorted(names) == sorted(storages):
            return names
    raise UsageError(f"{where}: the list of its storages is not that of its tensors; give a complete checkpoint")
