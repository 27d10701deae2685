"""Where load goes to: the text after `--target`, parsed."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from bench.errors import UsageError

_FORMS = "embedded, http://host:8501, grpc://host:8500, docker:cpu, docker:gpu, binary:/path, estimator"


class TargetKind(StrEnum):
    """What stands behind a target."""

    EMBEDDED = "embedded"
    REST = "rest"
    GRPC = "grpc"
    DOCKER = "docker"
    BINARY = "binary"
    ESTIMATOR = "estimator"


@dataclass(frozen=True, slots=True)
class Target:
    """A target.

    Args:
        kind: what it is.
        address: REST: scheme, host and port as a URL without a path; gRPC: `host:port`; else empty.
        secure: the connection is encrypted (`https://`, `grpcs://`).
        device: `cpu` or `gpu` of a Docker target, else empty.
        path: the server binary of a binary target.
    """

    kind: TargetKind
    address: str = ""
    secure: bool = False
    device: str = ""
    path: Path | None = None

    @property
    def managed(self) -> bool:
        """Whether the suite starts and stops the server itself."""
        return self.kind in (TargetKind.EMBEDDED, TargetKind.DOCKER, TargetKind.BINARY)

    @property
    def remote(self) -> bool:
        """Whether it is an address somebody else serves at."""
        return self.kind in (TargetKind.REST, TargetKind.GRPC)

    def __str__(self) -> str:
        if self.kind is TargetKind.GRPC:
            return f"grpc{'s' if self.secure else ''}://{self.address}"
        return self.address or ":".join(filter(None, (self.kind.value, self.device, str(self.path or ""))))


def parse_target(text: str) -> Target:
    """The target in `text`.

    Raises:
        UsageError: none of the known forms.
    """
    stripped = text.strip()
    scheme, separator, _ = stripped.partition("://")
    if separator and scheme.lower() in ("http", "https", "grpc", "grpcs"):
        return _parse_address(stripped)
    kind, _, rest = stripped.partition(":")
    if stripped in ("embedded", "estimator"):
        return Target(TargetKind(stripped))
    if kind == "docker" and rest in ("cpu", "gpu"):
        return Target(TargetKind.DOCKER, device=rest)
    if kind == "binary" and rest:
        return Target(TargetKind.BINARY, path=Path(rest))
    raise UsageError(f"{text!r} is not a target; write one of {_FORMS}")


def grpc_address(text: str) -> Target:
    """A gRPC target from `host:port` or `grpc://host:port`, as Locust's `--host` takes it.

    Raises:
        UsageError: not an address.
    """
    target = parse_target(text if "://" in text else f"grpc://{text}")
    if target.kind is not TargetKind.GRPC:
        raise UsageError(f"{text!r} is not a gRPC address; write it like localhost:8500 or grpc://localhost:8500")
    return target


def rest_address(text: str) -> Target:
    """A REST target from `http://host:port`, as Locust's `--host` takes it.

    Raises:
        UsageError: not an address.
    """
    target = parse_target(text if "://" in text else f"http://{text}")
    if target.kind is not TargetKind.REST:
        raise UsageError(f"{text!r} is not a REST address; write it like http://localhost:8501")
    return target


def _parse_address(text: str) -> Target:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or any(char.isspace() for char in text):
        raise UsageError(f"{text!r} has no valid host or port; write it like http://localhost:8501")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise UsageError(f"{text!r} holds more than host and port; write it like http://localhost:8501")
    if ":" in host:
        host = f"[{host}]"
    secure = parts.scheme in ("https", "grpcs")
    if parts.scheme.startswith("grpc"):
        if port is None:
            raise UsageError(f"{text!r} has no port; write it like grpc://localhost:8500")
        return Target(TargetKind.GRPC, f"{host}:{port}", secure)
    return Target(TargetKind.REST, f"{parts.scheme}://{host}{f':{port}' if port else ''}", secure)
