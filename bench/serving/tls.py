"""Certificates for encrypted connections: the same authorities for REST and gRPC, whatever the client library."""

import contextlib
import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.core.errors import UsageError, in_words
from bench.core.types import checked_fields

FILE_VARIABLE: Final = "SSL_CERT_FILE"
FOLDER_VARIABLE: Final = "SSL_CERT_DIR"
# Names of certificates in a folder of OpenSSL's.
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")
_OPTIONS: Final = ("--ca-cert", "--client-cert", "--client-key")


@dataclass(frozen=True, slots=True)
@checked_fields
class TlsOptions:
    """The certificates of a TLS client; PEM files.

    Args:
        ca: certificates of the trusted authorities; None for those of `SSL_CERT_FILE`, or else the system's.
        cert: the client's certificate chain, for servers that request one.
        key: its private key, without a password.

    Raises:
        UsageError: a certificate without a key, a key without a certificate, or a missing file.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise UsageError("a client certificate needs its key, and a key its certificate; give both")
        for option, path in zip(_OPTIONS, (self.ca, self.cert, self.key), strict=True):
            if path is not None and not path.is_file():
                if not path.exists():
                    raise UsageError(f"{option}: no certificate file {path}; check the path")
                raise UsageError(f"{option}: {path} is {_kind(path)}, not a file; give a PEM file")

    @property
    def given(self) -> bool:
        """Whether any file is given."""
        return self != SYSTEM

    def authorities(self) -> Path:
        """The file or folder of the trusted authorities: `ca`, or that of the environment, or the system's.

        Raises:
            UsageError: a variable names what is not there.
        """
        if self.ca is not None:
            return self.ca
        for variable, is_there in ((FILE_VARIABLE, Path.is_file), (FOLDER_VARIABLE, Path.is_dir)):
            if text := os.environ.get(variable):
                path = Path(text)
                if not is_there(path):
                    why = f"is {_kind(path)}" if path.exists() else "is not there"
                    raise UsageError(f"{variable} names {text}, which {why}; correct or unset it")
                return path
        found = ssl.get_default_verify_paths()
        if found.cafile or found.capath:
            return Path(found.cafile or found.capath or "")
        # A machine without a store of its own.
        import certifi

        return Path(certifi.where())

    def load_into(self, context: ssl.SSLContext) -> None:
        """Adds the certificates to a client's TLS context.

        Raises:
            UsageError: the files are not usable certificates.
        """
        trusted = self.authorities()
        with _naming(self._source(), trusted, "certificates"):
            context.load_verify_locations(**{"capath" if trusted.is_dir() else "cafile": str(trusted)})
        if self.cert and self.key:
            # OpenSSL does not say which of the two files is wrong.
            with _naming(_OPTIONS[1], self.cert, "certificates"):
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=str(self.cert))
            with _naming(_OPTIONS[2], self.key, f"key of {self.cert}, without a password,"):
                # An empty password, so that OpenSSL does not ask for one on the terminal.
                context.load_cert_chain(str(self.cert), str(self.key), password="")

    def _source(self) -> str:
        """What names the authorities: an option, a variable, or the system."""
        if self.ca is not None:
            return _OPTIONS[0]
        return next((name for name in (FILE_VARIABLE, FOLDER_VARIABLE) if os.environ.get(name)), "the system")

    def grpc_credentials(self) -> tuple[bytes, bytes | None, bytes | None]:
        """Authorities, key and certificate as grpcio takes them, which has authorities of its own otherwise.

        Raises:
            UsageError: the files are not usable certificates.
        """
        self.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        trusted = self.authorities()
        files = [trusted] if trusted.is_file() else [file for file in trusted.iterdir() if _HASHED.match(file.name)]
        roots = b"\n".join(file.read_bytes() for file in sorted(files) if file.is_file())
        return roots, self.key.read_bytes() if self.key else None, self.cert.read_bytes() if self.cert else None


def _kind(path: Path) -> str:
    """What a path that is not of the wanted kind leads to."""
    return "a folder" if path.is_dir() else "a file" if path.is_file() else "a pipe or a device"


@contextlib.contextmanager
def _naming(source: str, path: Path, wanted: str) -> Iterator[None]:
    """Adds to errors of OpenSSL the file, and the option or variable that names it."""
    try:
        yield
    except (ssl.SSLError, OSError) as error:
        raise UsageError(f"{source}: {path} has no usable {wanted} ({in_words(error)}); give a PEM file") from error


SYSTEM: Final = TlsOptions()


def certificate_name(host: str) -> str:
    """The name of a host that its certificate has: without the dot at its end, or the zone of an IPv6 address."""
    return host.partition("%")[0].rstrip(".")


def client_context(tls: TlsOptions) -> Any:
    """The TLS context of a client that verifies the server's certificate and name.

    Raises:
        UsageError: the files are not usable certificates.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.load_into(context)
    return context
