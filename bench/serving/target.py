"""A target, which is a server or how to start one, and how to reach it; parses the text after `--target`."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from bench.core.errors import UsageError, did_you_mean
from bench.core.redaction import REDACTED
from bench.core.types import checked_call, checked_fields
from bench.serving.access import DIRECT, Access
from bench.serving.container_limits import NO_LIMITS, ContainerLimits
from bench.serving.headers import Headers

_SCHEMES: Final = ("http", "https", "grpc", "grpcs")
# A label may contain an underscore, as service names of Docker Compose do.
_HOST: Final = re.compile(r"(?=.{1,253}$)[\w](?:[\w-]{0,61}[\w])?(?:\.[\w](?:[\w-]{0,61}[\w])?)*\.?")
_FORMS: Final = (
    "embedded, http://host:8501, grpc://host:8500, docker:cpu or docker:cpu,cpus=2,memory=4GB, docker:gpu, "
    "binary:/path, estimator"
)
# A segment of a path (RFC 3986, section 3.3) but for "@", which would be taken for the end of a password.
_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})+")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]")
_ESCAPED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_API: Final = re.compile(r"/v1(/|$)")


class TargetKind(StrEnum):
    """The kinds of targets."""

    EMBEDDED = "embedded"
    REST = "rest"
    GRPC = "grpc"
    DOCKER = "docker"
    BINARY = "binary"
    ESTIMATOR = "estimator"


@dataclass(frozen=True, slots=True)
@checked_fields
class Target:
    """A target and how to reach it.

    Args:
        kind: its kind.
        address: REST: scheme, host, port and path prefix as a URL without a slash at its end; gRPC: `host:port`; else
            empty.
        secure: whether the connection is encrypted (`https://`, `grpcs://`).
        device: `cpu` or `gpu` of a Docker target, else empty.
        path: the server binary of a binary target.
        limits: what the container of a Docker target may use.
        access: headers, certificates and the time to become ready.
    """

    kind: TargetKind
    address: str = ""
    secure: bool = False
    device: str = ""
    path: Path | None = None
    limits: ContainerLimits = NO_LIMITS
    access: Access = DIRECT

    @property
    def managed(self) -> bool:
        """Whether the suite starts and stops the server itself."""
        return self.kind in (TargetKind.EMBEDDED, TargetKind.DOCKER, TargetKind.BINARY)

    @property
    def remote(self) -> bool:
        """Whether it is the address of a server that the suite does not start."""
        return self.kind in (TargetKind.REST, TargetKind.GRPC)

    @checked_call
    def with_headers(self, headers: Headers) -> "Target":
        """The same with further headers, which replace those of the same name."""
        return replace(self, access=replace(self.access, headers=self.access.headers.replaced_by(headers)))

    def __str__(self) -> str:
        """As it is given to `--target`: without headers and certificates."""
        if self.kind is TargetKind.GRPC:
            return f"grpc{'s' if self.secure else ''}://{self.address}"
        named = ":".join(filter(None, (self.kind.value, self.device, str(self.path or ""))))
        return self.address or ",".join(filter(None, (named, str(self.limits))))


@checked_call
def parse_target(text: str, access: Access = DIRECT) -> Target:
    """The target in `text`.

    Args:
        text: as after `--target`.
        access: how to reach it.

    Raises:
        UsageError: not a target, which the message explains, or `reach` refuses it.
    """
    return reach([_parse(text)], access)[0]


def reach(targets: Iterable[Target], access: Access) -> tuple[Target, ...]:
    """The same targets, reached by `access`, which applies to all of them.

    Raises:
        UsageError: it has no effect: certificates, and no connection is encrypted; anything for the estimator.
    """
    found = tuple(replace(target, access=access) for target in targets)
    if access.tls.given and not any(target.secure for target in found):
        names = " and ".join(dict.fromkeys(map(str, found)))
        raise UsageError(
            f"certificates have no effect on {names}, which is not encrypted; give https:// or grpcs://, or leave out "
            "--ca-cert, --client-cert and --client-key"
        )
    if access != DIRECT and any(target.kind is TargetKind.ESTIMATOR for target in found):
        raise UsageError("headers, certificates and times have no effect on the estimator, which is not a server")
    return found


def _parse(text: str) -> Target:
    stripped = text.strip()
    scheme, separator, _ = stripped.partition("://")
    if separator:
        return _parse_address(stripped, scheme.lower())
    kind, colon, rest = stripped.partition(":")
    if stripped in ("embedded", "estimator"):
        return Target(TargetKind(stripped))
    device, comma, limits = rest.partition(",")
    if kind == "docker" and device in ("cpu", "gpu"):
        try:
            return Target(
                TargetKind.DOCKER, device=device, limits=ContainerLimits.parse(limits) if comma else NO_LIMITS
            )
        except UsageError as error:
            raise UsageError(f"{text!r}: {error}; write it like docker:cpu,cpus=1.5,memory=2GB,cpuset=0-3") from error
    if kind == "binary" and rest:
        return Target(TargetKind.BINARY, path=Path(rest))
    raise UsageError(
        f"{masked_address(text)!r} is not a target{_hint(stripped, kind, colon, rest)}; write one of {_FORMS}"
    )


def masked_address(text: str) -> str:
    """An address for a message, without a password or a query, which may hold one."""
    scheme, separator, rest = text.partition("://") if "://" in text else ("", "", text)
    if "@" in rest:
        return f"{scheme}{separator}{REDACTED}"
    place = min((rest.find(mark) for mark in "?#" if mark in rest), default=len(rest))
    return f"{scheme}{separator}{rest[:place]}{REDACTED if rest[place:] else ''}"


def _hint(text: str, kind: str, colon: str, rest: str) -> str:
    """A hint at the intended target; empty without one."""
    if kind == "docker":
        return ": docker needs a device, docker:cpu or docker:gpu"
    if kind == "binary":
        return ": binary needs the path of a tensorflow_model_server"
    if Path(text).is_dir():
        return ": it is a folder, and that of a model is named with --model-dir"
    if not colon:
        return did_you_mean(text, ("embedded", "estimator", "docker:cpu", "docker:gpu"))
    if text.startswith("[") or rest.isdigit():
        return f": an address needs its scheme, http://{masked_address(text)} or grpc://{masked_address(text)}"
    return ""


def grpc_address(text: str) -> Target:
    """A gRPC target from `host:port` or `grpc://host:port`, as Locust's `--host` takes it.

    Raises:
        UsageError: not an address.
    """
    target = parse_target(text if "://" in text else f"grpc://{text}")
    if target.kind is not TargetKind.GRPC:
        raise UsageError(
            f"{masked_address(text)!r} is not a gRPC address; write it like localhost:8500 or grpc://localhost:8500"
        )
    return target


def rest_address(text: str) -> Target:
    """A REST target from `http://host:port`, as Locust's `--host` takes it.

    Raises:
        UsageError: not an address.
    """
    target = parse_target(text if "://" in text else f"http://{text}")
    if target.kind is not TargetKind.REST:
        raise UsageError(f"{masked_address(text)!r} is not a REST address; write it like http://localhost:8501")
    return target


def _parse_address(text: str, scheme: str) -> Target:
    example = "grpc://localhost:8500" if scheme.startswith("grpc") else "http://localhost:8501"
    wrong = _fault(text, scheme)
    if wrong is not None:
        # A password must not appear on a shared terminal or in the log of a CI job.
        raise UsageError(f"{masked_address(text)!r} {wrong}; write it like {example}")
    parts = urlsplit(text)
    host = parts.hostname or ""
    # The name in ASCII (RFC 3490) that resolvers, certificates and the Host header have.
    host = f"[{host}]" if ":" in host else host.encode("idna").decode()
    secure = scheme in ("https", "grpcs")
    if scheme.startswith("grpc"):
        return Target(TargetKind.GRPC, f"{host}:{parts.port}", secure)
    prefix = _normal(parts.path.rstrip("/"))
    return Target(TargetKind.REST, f"{scheme}://{host}{f':{parts.port}' if parts.port else ''}{prefix}", secure)


def _fault(text: str, scheme: str) -> str | None:
    """Why an address is not valid; None if it is."""
    if scheme not in _SCHEMES:
        known = f"known are {', '.join(_SCHEMES)}"
        return f"has the unknown scheme {scheme!r}, {known}{did_you_mean(scheme, _SCHEMES)}"
    if any(char.isspace() or not char.isprintable() for char in text):
        return "contains a blank or a control character"
    # Before anything else: the parts of a password that has a slash or a colon look like something else.
    if "@" in text:
        return "contains a user or a password, which are not sent; leave them out, and give credentials with --header"
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return "has brackets without an IPv6 address"
    if not parts.netloc.startswith("[") and parts.netloc.count(":") > 1:
        return "has more than one colon; put an IPv6 address into brackets, like http://[::1]:8501"
    if not host:
        return "has no host"
    return _host_fault(host, parts.netloc, scheme) or _port_fault(parts.netloc, scheme) or _more(parts, scheme)


def _host_fault(host: str, netloc: str, scheme: str) -> str | None:
    if netloc.startswith("["):
        address, percent, _ = host.partition("%")
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            return f"has {host!r} in brackets, which is not an IPv6 address"
        if percent and not scheme.startswith("grpc"):
            return f"has the IPv6 address {host!r} with a zone, which cannot be reached over REST; give one without it"
        return None
    if re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return f"has the host {host!r}, which is not an IPv4 address"
    return None if _HOST.fullmatch(host) and _has_ascii(host) else f"has the host {host!r}, which is not a host name"


def _has_ascii(host: str) -> bool:
    """Whether a name has a form in ASCII."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


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


def _more(parts: SplitResult, scheme: str) -> str | None:
    """What is wrong after host and port."""
    more = parts._replace(scheme="", netloc="").geturl()
    if more in ("", "/"):
        return None
    if parts.query or parts.fragment or more.endswith(("?", "#")):
        return "has a query after host and port; leave it out, and give credentials with --header"
    if scheme.startswith("grpc"):
        return f"has {more!r} after host and port; leave it out, gRPC has no path prefix"
    return _prefix_fault(parts.path)


def _normal(path: str) -> str:
    """A path in its normal form (RFC 3986, section 6.2.2): one of the clients asks for it, so all do."""

    def plain(found: re.Match[str]) -> str:
        char = chr(int(found[1], 16))
        return char if _UNRESERVED.fullmatch(char) else found[0].upper()

    return _ESCAPED.sub(plain, path)


def _prefix_fault(path: str) -> str | None:
    """Why a path is not a prefix that REST paths are appended to; None if it is."""
    if _API.search(_normal(path)):
        return f"has {path!r} after host and port; leave it out from /v1 on: only a prefix before it is given"
    segments: Sequence[str] = path.rstrip("/").split("/")[1:]
    if any(_normal(segment) in (".", "..") or not _SEGMENT.fullmatch(segment) for segment in segments):
        return f"has the path prefix {path!r}, in which a segment is empty, dots or not of letters, digits and -._~%XX"
    return None
