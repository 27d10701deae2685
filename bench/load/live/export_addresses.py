"""Where a page for other programs listens, and where a collector is."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from bench.core.errors import UsageError
from bench.core.types import checked_fields
from bench.core.units import parse_whole

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
    """The base URL of an OpenTelemetry collector.

    Raises:
        UsageError: it is something else.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{text!r} is not the URL of a collector; write it like http://localhost:4318")
    return text
