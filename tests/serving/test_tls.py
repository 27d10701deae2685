"""Messages about certificates name the file, and the option or variable that gave it."""

import os
import re
import ssl
from pathlib import Path

import pytest

from bench.core.errors import UsageError
from bench.serving.tls import TlsOptions, client_context
from tests.support.programmed_servers import TLS

GOOD = {"cert": TLS / "server.pem", "key": TLS / "server.key"}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A file that is no certificate."""
    path = tmp_path / "run.json"
    path.write_text("{}")
    return path


@pytest.mark.parametrize(("name", "option"), [("ca", "--ca-cert"), ("cert", "--client-cert"), ("key", "--client-key")])
class TestOptions:
    def test_a_file_without_a_certificate(self, text: Path, name: str, option: str) -> None:
        tls = TlsOptions(**({"ca": TLS / "ca.pem"} | GOOD | {name: text}))
        says = rf"^{option}: {re.escape(str(text))} has no usable .*; give a PEM file$"
        for use in (client_context, TlsOptions.grpc_credentials):
            with pytest.raises(UsageError, match=says):
                use(tls)

    def test_what_is_there_but_no_file(self, tmp_path: Path, name: str, option: str) -> None:
        os.mkfifo(tmp_path / "pipe")
        kinds = {Path("/dev/null"): "a pipe or a device", tmp_path: "a folder", tmp_path / "pipe": "a pipe or a device"}
        for path, kind in kinds.items():
            with pytest.raises(UsageError) as caught:
                TlsOptions(**(GOOD | {name: path}))
            assert str(caught.value) == f"{option}: {path} is {kind}, not a file; give a PEM file"

    def test_what_is_not_there(self, tmp_path: Path, name: str, option: str) -> None:
        with pytest.raises(UsageError, match=f"^{option}: no certificate file .*/none.pem; check the path"):
            TlsOptions(**(GOOD | {name: tmp_path / "none.pem"}))


def test_a_variable_is_named(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value, says in (
        (str(text), f"SSL_CERT_FILE: {text} has no usable certificates ("),
        ("/dev/null", "SSL_CERT_FILE names /dev/null, which is a pipe or a device; correct"),
        (str(tmp_path), f"SSL_CERT_FILE names {tmp_path}, which is a folder; correct"),
        (f"{tmp_path}/none", f"SSL_CERT_FILE names {tmp_path}/none, which is not there; correct"),
    ):
        monkeypatch.setenv("SSL_CERT_FILE", value)
        with pytest.raises(UsageError, match=f"^{re.escape(says)}"):
            client_context(TlsOptions())


def test_certificates_that_are_fine() -> None:
    assert isinstance(client_context(TlsOptions(TLS / "ca.pem", **GOOD)), ssl.SSLContext)
