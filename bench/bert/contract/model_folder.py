"""Model folders as TensorFlow Serving takes them, `MODEL_DIR/<version>/`, checked before a server starts."""

from pathlib import Path
from typing import Final

from bench.core.errors import TargetError, UsageError

LARGEST_VERSION: Final = 2**63 - 1
_GRAPHS: Final = ("saved_model.pb", "saved_model.pbtxt")
_VARIABLES: Final = "variables"
_INDEX: Final = "variables.index"
_CHECKPOINT_FILES: Final = ("config.json", "bert_config.json", "checkpoint", "vocab.txt")
_WEIGHTS: Final = ("model.safetensors", "model.ckpt", "bert_model.ckpt", "pytorch_model.bin")


def latest_version(model_dir: Path) -> Path:
    """The folder of the highest version under `model_dir`.

    Raises:
        UsageError: there is no such folder, it cannot be read, or it has no version in it; the message names the
            folder to give if it is known.
    """
    try:
        entries = list(model_dir.iterdir())
    except FileNotFoundError:
        raise UsageError(
            f"no model folder {model_dir}; make one with: bertbench export --checkpoint demo --out {model_dir}"
        ) from None
    except NotADirectoryError:
        raise UsageError(_not_a_folder(model_dir)) from None
    except OSError as error:
        raise UsageError(
            f"the model folder {model_dir} cannot be read ({error.strerror}); check its owner and mode"
        ) from error
    versions = [entry for entry in entries if is_version(entry.name) and entry.is_dir()]
    if not versions:
        raise UsageError(_without_versions(model_dir, entries))
    return max(versions, key=lambda entry: int(entry.name))


def is_version(name: str) -> bool:
    """Whether a folder of this name is a version; a server ignores numbers past int64."""
    return name.isascii() and name.isdigit() and int(name) <= LARGEST_VERSION


def check_servable(model_dir: Path) -> None:
    """Checks that the newest version has the files that a server loads.

    Raises:
        UsageError: not a model folder.
        TargetError: files of the SavedModel are missing or empty, or are none; the message names them.
    """
    version = latest_version(model_dir)
    graph = next((version / name for name in _GRAPHS if (version / name).is_file()), None)
    if graph is None:
        raise TargetError(f"{version} has no saved_model.pb, so it is not a SavedModel; export the model again")
    if not graph.stat().st_size:
        raise TargetError(f"{graph} is empty; export the model again")
    variables = version / _VARIABLES
    exported_here = (version / "assets.extra").is_dir()
    if not variables.is_dir():
        if exported_here:
            raise TargetError(f"{version} has no folder {_VARIABLES}, so the model has no weights; export it again")
        return
    if not (variables / _INDEX).is_file():
        raise TargetError(f"{variables} has no {_INDEX}, so the weights cannot be read; export the model again")
    shards = list(variables.glob("variables.data-*"))
    if other := next((path for path in shards if not path.is_file()), None):
        # A pipe would be waited for.
        raise TargetError(f"{other} is not a file, so the weights cannot be read; export the model again")
    if not any(path.stat().st_size for path in shards):
        raise TargetError(f"{variables} has no variables.data-... file with the weights; export the model again")


def _not_a_folder(path: Path) -> str:
    """For a file, or a path that goes through one."""
    if path.name in _GRAPHS:
        return f"{path} is a file of a model; give the folder above its versions: {path.absolute().parent.parent}"
    return f"{path} is not a folder; give the folder above the versions of a model"


def _without_versions(model_dir: Path, entries: list[Path]) -> str:
    names = {entry.name for entry in entries}
    if names & {*_GRAPHS, _VARIABLES}:
        return f"{model_dir} is one version of a model; give the folder above it: {model_dir.absolute().parent}"
    if names & set(_CHECKPOINT_FILES) or any(name.startswith(_WEIGHTS) for name in names):
        return (
            f"{model_dir} holds a checkpoint, not an export; make one with: "
            f"bertbench export --checkpoint {model_dir} --out MODEL_DIR"
        )
    below = sorted(entry for entry in entries if entry.is_dir() and any(map(is_version, _names_in(entry))))
    if below:
        return f"{model_dir} holds no version folder like {model_dir}/1; did you mean {below[0]}?"
    return f"{model_dir} holds no version folder like {model_dir}/1; give the folder above versions"


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
