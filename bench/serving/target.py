"""The target of the load: parses the text after `--target`."""

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from bench.core.errors import UsageError, did_you_mean

_SCHEMES: Final = ("http", "https", "grpc", "grpcs")
# A label may contain an underscore, as service names of Docker Compose do.
_HOST: Final = re.compile(r"(?=.{1,253}$)[\w](?:[\w-]{0,61}[\w])?(?:\.[\w](?:[\w-]{0,61}[\w])?)*\.?")
_FORMS = "embedded, http://host:8501, grpc://host:8500, docker:cpu, docker:gpu, binary:/path, estimator"


class TargetKind(StrEnum):
    """The kinds of targets."""

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
        kind: its kind.
        address: REST: scheme, host and port as a URL without a path; gRPC: `host:port`; else empty.
        secure: whether the connection is encrypted (`https://`, `grpcs://`).
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
        """Whether it is the address of a server that the suite does not start."""
        return self.kind in (TargetKind.REST, TargetKind.GRPC)

    def __str__(self) -> str:
        if self.kind is TargetKind.GRPC:
            return f"grpc{'s' if self.secure else ''}://{self.address}"
        return self.address or ":".join(filter(None, (self.kind.value, self.device, str(self.path or ""))))


def parse_target(text: str) -> Target:
    """The target in `text`.

    Raises:
        UsageError: not a target; the message says why.
    """
    stripped = text.strip()
    scheme, separator, _ = stripped.partition("://")
    if separator:
        return _parse_address(stripped, scheme.lower())
    kind, colon, rest = stripped.partition(":")
    if stripped in ("embedded", "estimator"):
        return Target(TargetKind(stripped))
    if kind == "docker" and rest in ("cpu", "gpu"):
        return Target(TargetKind.DOCKER, device=rest)
    if kind == "binary" and rest:
        return Target(TargetKind.BINARY, path=Path(rest))
    raise UsageError(f"{text!r} is not a target{_hint(stripped, kind, colon, rest)}; write one of {_FORMS}")


def _hint(text: str, kind: str, colon: str, rest: str) -> str:
    """A hint at the intended target; empty without one."""
    if kind == "docker":
        return ": docker needs a device, docker:cpu or docker:gpu"
    if kind == "binary":
        return ": binary needs the path of a tensorflow_model_server"
    if not colon:
        return did_you_mean(text, ("embedded", "estimator", "docker:cpu", "docker:gpu"))
    if text.startswith("[") or rest.isdigit():
        return f": an address needs its scheme, http://{text} or grpc://{text}"
    return ""


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


def _parse_address(text: str, scheme: str) -> Target:
    example = "grpc://localhost:8500" if scheme.startswith("grpc") else "http://localhost:8501"
    wrong = _fault(text, scheme)
    if wrong is not None:
        # A password must not appear on a shared terminal or in the log of a CI job.
        shown = re.sub(r"//[^/@]*@", "//***@", text)
        raise UsageError(f"{shown!r} {wrong}; write it like {example}")
    parts = urlsplit(text)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    secure = scheme in ("https", "grpcs")
    if scheme.startswith("grpc"):
        return Target(TargetKind.GRPC, f"{host}:{parts.port}", secure)
    return Target(TargetKind.REST, f"{scheme}://{host}{f':{parts.port}' if parts.port else ''}", secure)


def _fault(text: str, scheme: str) -> str | None:
    """Why an address is not valid; None if it is."""
    if scheme not in _SCHEMES:
        known = f"known are {', '.join(_SCHEMES)}"
        return f"has the unknown scheme {scheme!r}, {known}{did_you_mean(scheme, _SCHEMES)}"
    if any(char.isspace() or not char.isprintable() for char in text):
        return "contains a blank or a control character"
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return "has brackets without an IPv6 address"
    if parts.username is not None or parts.password is not None:
        return "contains a user or a password, which are not sent; leave them out"
    if not parts.netloc.startswith("[") and parts.netloc.count(":") > 1:
        return "has more than one colon; put an IPv6 address into brackets, like http://[::1]:8501"
    if not host:
        return "has no host"
    return _host_fault(host, parts.netloc) or _port_fault(parts.netloc, scheme) or _more(parts)


def _host_fault(host: str, netloc: str) -> str | None:
    if netloc.startswith("["):
        try:
            ipaddress.IPv6Address(host.partition("%")[0])
        except ValueError:
            return f"has {host!r} in brackets, which is not an IPv6 address"
        return None
    if re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return f"has the host {host!r}, which is not an IPv4 address"
    return None if _HOST.fullmatch(host) else f"has the host {host!r}, which is not a host name"


def _port_fault(netloc: str, scheme: str) -> str | None:
    _, colon, port = netloc.rpartition("]")[2].rpartition(":")
    if not colon:
        return "has no port" if scheme.startswith("grpc") else None
    if not port:
        return "has a colon and no port"
    if not (port.isascii() and port.isdigit()):
        return f"has the port {port!r}, which is not a number"
    # Python refuses to convert very long texts.
    return (
        None
        if 0 < int(port.lstrip("0")[:6] or "0") < 65536
        else f"has the port {port}, which is out of range (1 to 65535)"
    )


def _more(parts: SplitResult) -> str | None:
    """Text after host and port."""
    more = parts._replace(scheme="", netloc="").geturl()
    return None if more in ("", "/") else f"has {more!r} after host and port; leave it out"
