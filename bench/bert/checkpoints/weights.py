"""Weight files of Hugging Face's folders: safetensors or `torch.save`'s, whole or in several files; without PyTorch."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final, Protocol

import ml_dtypes  # noqa: F401 - gives numpy the bfloat16 that weights may be stored in
import orjson
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError, safe_open

from bench.bert.checkpoints.git_lfs import check_is_content
from bench.bert.checkpoints.torch_file import read_torch_file
from bench.core.errors import UsageError
from bench.core.message_text import shown
from bench.core.strict_json import brief

SAFETENSORS: Final = "model.safetensors"
TORCH: Final = "pytorch_model.bin"
_INDEX: Final = ".index.json"
_MAX_INDEX: Final = 1 << 26
# What a folder may hold instead, and how it becomes one that is read.
_CONVERT: Final = "convert it once with transformers: BertForMaskedLM.from_pretrained(DIR, {}).save_pretrained(DIR)"
_OTHERS: Final[tuple[tuple[str, str], ...]] = (
    ("tf_model*.h5", _CONVERT.format("from_tf=True")),
    ("flax_model*.msgpack", _CONVERT.format("from_flax=True")),
    ("adapter_model.*", "merge the adapter into its model with peft's merge_and_unload() and save that"),
    ("*.onnx", f"give the checkpoint it was made of, with {SAFETENSORS}"),
    ("*model*.safetensors", f"rename it to {SAFETENSORS} if it holds all weights"),
    ("*model*.bin", f"rename it to {TORCH} if it holds all weights"),
    ("*model*.pt", f"rename it to {TORCH} if it is a state dict"),
    ("*.pth", f"rename it to {TORCH} if it is a state dict"),
)


class Stored(Protocol):
    """A tensor that is read when `numpy.asarray` asks for it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""

    def __array__(self, dtype: DTypeLike = None) -> NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class _SafeTensor:
    """A tensor in an open safetensors file."""

    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]
    where: str

    def __array__(self, dtype: DTypeLike = None) -> NDArray[Any]:
        try:
            found = self.read()
        except (SafetensorError, TypeError, AttributeError) as error:
            raise UsageError(f"{self.where} cannot be read ({error}); give its weights in float32") from error
        return found if dtype is None else found.astype(dtype)


def has_weights(folder: Path) -> bool:
    """Whether `folder` holds weights that `load_weights` reads."""
    return _find(folder) is not None


def load_weights(folder: Path) -> dict[str, Stored]:
    """The tensors in a folder, by name; safetensors where both are there, as `transformers` prefers it.

    Raises:
        UsageError: there are none, or they cannot be read.
    """
    found = _find(folder)
    if found is None:
        raise UsageError(_missing(folder))
    path, read = found
    if path.name.endswith(_INDEX):
        return dict(_load_shards(path, read))
    return dict(_load_file(path, read))


def _find(folder: Path) -> "tuple[Path, _Reader] | None":
    """The file to read, whole weights or their index, and how."""
    for name, read in _READERS.items():
        for path in (folder / name, folder / f"{name}{_INDEX}"):
            if path.is_file():
                return path, read
    return None


def _missing(folder: Path) -> str:
    for pattern, cure in _OTHERS:
        if others := sorted(folder.glob(pattern)):
            return f"{folder} has neither {SAFETENSORS} nor {TORCH}, but {others[0].name}; {cure}"
    return (
        f"{folder} has neither {SAFETENSORS} nor {TORCH} nor a TensorFlow checkpoint (*.index); "
        "give a BERT checkpoint folder"
    )


def _load_file(path: Path, read: "_Reader") -> Mapping[str, Stored]:
    check_is_content(path)
    return read(path)


def _load_shards(index: Path, read: "_Reader") -> Iterator[tuple[str, Stored]]:
    """The tensors of all files that `index` names, each from the file that it is said to lie in."""
    mapped = _weight_map(index)
    files = {name: _load_file(index.parent / name, read) for name in sorted(set(mapped.values()))}
    for name, file in mapped.items():
        if name not in files[file]:
            raise UsageError(
                f"{index.parent / file} lacks {shown(name)}, which {index.name} says it has; give complete weights"
            )
        yield name, files[file][name]
    # What the index leaves out is looked at all the same: it may be of another model.
    for tensors in files.values():
        yield from ((name, tensor) for name, tensor in tensors.items() if name not in mapped)


def _weight_map(index: Path) -> dict[str, str]:
    """The file of each tensor as the index has it; all lie in its folder."""
    try:
        if index.stat().st_size > _MAX_INDEX:
            raise ValueError(f"{index.stat().st_size} bytes")
        mapped: dict[str, str] = orjson.loads(index.read_bytes())["weight_map"]
        names = list(mapped.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{index} cannot be read ({error}); give a complete checkpoint") from error
    for name in names:
        if not isinstance(name, str) or not _is_inside(name):
            raise UsageError(f"{index} names {brief(name)}, which is not a file of its folder; give complete weights")
    return mapped


def _is_inside(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor != ""
    return not absolute and ".." not in parts and name.isprintable() and parts[-1] not in ("", ".")


def _read_safetensors(path: Path) -> Mapping[str, Stored]:
    try:
        # Not closed: the tensors are read from its mapping later on.
        stored: Any = safe_open(path, framework="np")
        form = (stored.metadata() or {}).get("format", "pt")
        if form in ("tf", "flax"):
            raise UsageError(f"{path} holds weights in the layout of {form!r}; {_CONVERT.format('')}")
        keys: list[str] = stored.keys()
        return {key: _safe_tensor(stored, key, path) for key in keys}
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path} cannot be read ({error}); give a complete checkpoint") from error


def _safe_tensor(stored: Any, key: str, path: Path) -> _SafeTensor:
    shape = tuple(stored.get_slice(key).get_shape())
    return _SafeTensor(shape, lambda: stored.get_tensor(key), f"{path}: {key}")


_Reader = Callable[[Path], Mapping[str, Stored]]
_READERS: Final[Mapping[str, _Reader]] = {SAFETENSORS: _read_safetensors, TORCH: read_torch_file}
