"""Certificates for encrypted connections."""

from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """The certificates of a TLS client; PEM files.

    Args:
        ca: certificates of the trusted authorities; None for the system's.
        cert: the client's certificate chain, for servers that request one.
        key: its private key.

    Raises:
        UsageError: a certificate without a key, a key without a certificate, or a missing file.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise UsageError("a client certificate needs its key, and a key its certificate; give both")
        for path in (self.ca, self.cert, self.key):
            if path is not None and not path.is_file():
                raise UsageError(f"no certificate file {path}; check the path")
