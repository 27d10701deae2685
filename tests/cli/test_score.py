"""What `bertbench score --resume` takes for the same job."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.cli.dispatch import full_parser
from bench.cli.score import _job

TLS = Path(__file__).parents[1] / "load" / "tls"


def job(*words: str) -> dict[str, Any]:
    args = full_parser().parse_args(["score", "text.tsv", "--target", "https://h:1", *words])
    side: Any = SimpleNamespace(identity={"model": "sha256:0"})
    return _job(args, [side])


def test_a_client_s_certificate_may_choose_the_model() -> None:
    """A file begun with one certificate went on with another, as it does not with another header."""
    plain, key = job(), ("--client-key", str(TLS / "server.key"))
    one, other = (job("--client-cert", str(TLS / name), *key) for name in ("server.pem", "ca.pem"))
    assert one == {**plain, "--client-cert": str((TLS / "server.pem").resolve())}
    assert one != other
    assert job("--header", "X-Model: a") == {**plain, "--header": ("X-Model",)}
    # These do not say who asks, nor for what.
    assert (
        job("--ca-cert", str(TLS / "ca.pem"), "--timeout", "9s", "--in-flight", "3", "--ready-timeout", "9s") == plain
    )
