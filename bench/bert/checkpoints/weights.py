"""Weight files of Hugging Face's folders: safetensors or `torch.save`'s, whole or in several files; without PyTorch."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final, Protocol

import ml_dtypes  # noqa: F401 - gives numpy the bfloat16 that weights may be stored in
import msgspec
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
# Other files that a folder may have, each with the way to one that is read; the first that matches counts.
_CONVERT: Final = "convert it with transformers 4: BertForMaskedLM.from_pretrained(DIR{}).save_pretrained(DIR)"
_SOURCE: Final = f"give the checkpoint that it was made from, with {SAFETENSORS}"
_ALL_WEIGHTS: Final = "rename it to {} if it has all weights"
_STATE_DICT: Final = f"save its state_dict() as {TORCH}"
_OTHERS: Final[Mapping[str, str]] = {
    "tf_model*.h5": _CONVERT.format(", from_tf=True"),
    "flax_model*.msgpack": _CONVERT.format(", from_flax=True"),
    "adapter_model.*": "merge the adapter into its model with peft's merge_and_unload() and save that",
    **dict.fromkeys(("*.onnx", "openvino_model.*", "*.gguf", "*.h5", "*.keras", "*.tflite"), _SOURCE),
    "*.safetensors": _ALL_WEIGHTS.format(SAFETENSORS),
    "*model*.bin": _ALL_WEIGHTS.format(TORCH),
    **dict.fromkeys(("*model*.pt", "*.pth", "*.pth.tar"), _STATE_DICT),
    "*.data-?????-of-?????": "copy its .index file into the folder",
    "*.ckpt": f"{_STATE_DICT} if it is PyTorch's, or save it in TensorFlow's format V2 (tf.train.Saver)",
    **dict.fromkeys(("*.zip", "*.tar", "*.tar.gz", "*.tgz"), "unpack it"),
    "onnx/*.onnx": _SOURCE,
}


class _Index(msgspec.Struct):
    """`model.safetensors.index.json`: the file of each tensor."""

    weight_map: dict[str, object]


class Stored(Protocol):
    """A tensor that `numpy.asarray` reads."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""

    def __array__(self, dtype: DTypeLike = None) -> NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class _SafeTensor:
    """A tensor in an open safetensors file."""

    shape: tuple[int, ...]
    kind: str
    read: Callable[[], NDArray[Any]]
    where: str

    def __array__(self, dtype: DTypeLike = None) -> NDArray[Any]:
        try:
            found = self.read()
        except (TypeError, AttributeError) as error:  # numpy has no such type
            raise UsageError(f"{self.where} is stored as {self.kind}; save the weights in float32") from error
        except SafetensorError as error:
            raise UsageError(f"{self.where} cannot be read ({error}); give a complete checkpoint") from error
        return found if dtype is None else found.astype(dtype)


def has_weights(folder: Path) -> bool:
    """Whether `folder` holds weights that `load_weights` reads."""
    return _find(folder) is not None


def load_weights(folder: Path) -> dict[str, Stored]:
    """The tensors in a folder, by name; safetensors before PyTorch's, as in `transformers`.

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
    links = (folder / name for name in _READERS if (folder / name).is_symlink())
    if broken := next(links, None):
        return f"{broken} links to {broken.readlink()}, which is not a file; copy the folder with the files (cp -L)"
    for pattern, cure in _OTHERS.items():
        if others := sorted(path for path in folder.glob(pattern) if path.is_file()):
            return f"{folder} has neither {SAFETENSORS} nor {TORCH}, but {others[0].relative_to(folder)}; {cure}"
    return (
        f"{folder} has neither {SAFETENSORS} nor {TORCH} nor a TensorFlow checkpoint (*.index); "
        "give a BERT checkpoint folder"
    )


def _load_file(path: Path, read: "_Reader") -> Mapping[str, Stored]:
    check_is_content(path)
    return read(path)


def _load_shards(index: Path, read: "_Reader") -> Iterator[tuple[str, Stored]]:
    """The tensors of all files that `index` names, each from its file."""
    mapped = _weight_map(index)
    files = {name: _load_file(index.parent / name, read) for name in sorted(set(mapped.values()))}
    for name, file in mapped.items():
        if name not in files[file]:
            raise UsageError(
                f"{index.parent / file} lacks {shown(name)}, which {index.name} says it has; give complete weights"
            )
        yield name, files[file][name]
    # Tensors that the index omits are checked too: they may show another model.
    for tensors in files.values():
        yield from ((name, tensor) for name, tensor in tensors.items() if name not in mapped)


def _weight_map(index: Path) -> dict[str, str]:
    """The file of each tensor by the index, in the index's folder."""
    try:
        if index.stat().st_size > _MAX_INDEX:
            raise ValueError(f"{index.stat().st_size} bytes")
        mapped = msgspec.json.decode(index.read_bytes(), type=_Index).weight_map
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{index} cannot be read ({error}); give a complete checkpoint") from error
    files = {tensor: name for tensor, name in mapped.items() if isinstance(name, str) and _is_inside(name)}
    if outside := mapped.keys() - files.keys():
        name = brief(mapped[min(outside)])
        raise UsageError(f"{index} names {name}, which is not a file of its folder; give complete weights")
    return files


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
    part = stored.get_slice(key)
    return _SafeTensor(tuple(part.get_shape()), part.get_dtype(), lambda: stored.get_tensor(key), f"{path}: {key}")


_Reader = Callable[[Path], Mapping[str, Stored]]
_READERS: Final[Mapping[str, _Reader]] = {SAFETENSORS: _read_safetensors, TORCH: read_torch_file}
