"""Packages that not every installation has: which extra of the package brings them, and the one line that says so."""

import importlib.util
from typing import Final

from bench.core.errors import UsageError

# By the name under which it is imported.
_EXTRAS: Final = {
    "tensorflow": "model",
    "tensorflow_serving": "model",
    "grpc_health": "model",
    "ml_dtypes": "model",
    "safetensors": "model",
    "tokenizers": "score",
    "pandas": "frame",
    "opentelemetry": "otel",
}
# Packages of the base that a load-generating worker does without; by the name under which they are imported, that by
# which they are installed.
_BASE: Final = {
    "docker": "docker",
    "grpc": "grpcio",
    "hdrh": "hdrhistogram",
    "matplotlib": "matplotlib",
    "pyarrow": "pyarrow",
    "pynvml": "nvidia-ml-py",
    "rich": "rich",
    "scipy": "scipy",
}
_ONLY: Final = {"model": " on Python 3.11, the last that TensorFlow 2.15 runs on"}


def installed(package: str) -> bool:
    """Whether a package can be imported; it is not imported."""
    return importlib.util.find_spec(package) is not None


def require(package: str, purpose: str) -> None:
    """Refuses what cannot be done without a package.

    Args:
        package: the name under which it is imported.
        purpose: what needs it, the subject of the message.

    Raises:
        UsageError: it is not installed; the message has the command that installs it.
    """
    if not installed(package):
        raise UsageError(f"{purpose} needs {package}, which is not installed; {_cure(package)}")


def missing_extra(error: ModuleNotFoundError) -> UsageError | None:
    """The one line for an import that failed because an extra is not installed, or only what a worker needs.

    Returns:
        None for any other import.
    """
    package = (error.name or "").partition(".")[0]
    if package in _BASE:
        return UsageError(
            f"this needs {package}, which the installation of a worker lacks; install bertbench as a whole"
        )
    if package not in _EXTRAS:
        return None
    return UsageError(f"this needs {package}, which is not installed; {_cure(package)}")


def _cure(package: str) -> str:
    extra = _EXTRAS.get(package)
    if extra is None:
        return f"run: pip install {_BASE.get(package, package)}"
    return f"run: pip install 'bertbench[{extra}]'{_ONLY.get(extra, '')}"
