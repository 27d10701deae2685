"""Where a page for other programs listens, and where a collector is."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from bench.core.errors import UsageError
from bench.core.types import checked_fields
from bench.core.units import parse_whole
from bench.serving.target import masked_address

LOOPBACK: Final = "127.0.0.1"
_FORM: Final = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]+):)?(?P<port>[0-9]+)")


@dataclass(frozen=True, slots=True)
@checked_fields
class ListenAddress:
    """A host and a port.

    Args:
        host: an address of this machine, or its name.
        port: 1 to 65535.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen_address(text: str) -> ListenAddress:
    """The address in `9464` (on this machine only), `0.0.0.0:9464` or `[::]:9464`.

    Raises:
        UsageError: it is something else.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is not a port; write it like 9464, or 0.0.0.0:9464 to listen on all interfaces")
    return ListenAddress((found["host"] or LOOPBACK).strip("[]"), parse_whole(found["port"], 1, 65535))


def parse_collector_url(text: str) -> str:
    """The base URL of an OpenTelemetry collector, without credentials: it is stored, and named in messages.

    Raises:
        UsageError: it is something else.
    """
    shown = repr(masked_address(text))
    if any(mark in text for mark in "@?#"):
        raise UsageError(
            f"{shown} has a user, a password or a query, which runs would store; leave it out, and give credentials in "
            "the variable OTEL_EXPORTER_OTLP_HEADERS"
        )
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        # Brackets without an IPv6 address, or a port that is no number or too large.
        whole = False
    if not whole or not text.isprintable() or " " in text:
        raise UsageError(f"{shown} is not the URL of a collector; write it like http://localhost:4318")
    return text
