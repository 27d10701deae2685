"""Files in the forms of `torch.save`, put together instruction by instruction: right ones, and forged ones."""

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

ZIP_STORED = zipfile.ZIP_STORED


def push(value: object) -> bytes:
    """Instructions that put a plain value on the stack."""
    return pickle.dumps(value, 2)[2:-1]


def name(dotted: str) -> bytes:
    """The instruction that looks a name up."""
    module, _, attribute = dotted.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def call(dotted: str, *arguments: bytes) -> bytes:
    """A call of a name."""
    return name(dotted) + b"(" + b"".join(arguments) + b"tR"


def storage(key: object, size: object, kind: str = "torch.FloatStorage", *view: object) -> bytes:
    """A reference to a storage."""
    return b"(" + push("storage") + name(kind) + b"".join(map(push, (key, "cpu", size, *view))) + b"tQ"


def tensor(stored: bytes, shape: object, strides: object, offset: object = 0, *rest: bytes) -> bytes:
    """A call of `_rebuild_tensor_v2`."""
    hooks = rest or (push(False), call("collections.OrderedDict"))
    return call("torch._utils._rebuild_tensor_v2", stored, push(offset), push(shape), push(strides), *hooks)


def state(items: Mapping[str, bytes]) -> bytes:
    """A whole pickle of a dict."""
    return b"\x80\x02}(" + b"".join(push(key) + value for key, value in items.items()) + b"u."


def write_zip(path: Path, pickled: bytes, storages: Mapping[str, bytes], **records: bytes) -> Path:
    """The form of today; `records` are further files of the archive."""
    with zipfile.ZipFile(path, "w", ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        for key, data in records.items():
            archive.writestr(f"archive/{key}", data)
    return path


def write_legacy(path: Path, pickled: bytes, storages: Mapping[str, tuple[int, bytes]]) -> Path:
    """The older form; of each storage the number of elements that it says it has, and its bytes."""
    sizes = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, sizes)]
    tail = [pickle.dumps(list(storages), 2)]
    tail += [struct.pack("<q", count) + data for count, data in storages.values()]
    path.write_bytes(b"".join((*head, pickled, *tail)))
    return path
