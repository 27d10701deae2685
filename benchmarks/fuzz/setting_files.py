"""Files that a user names: settings, sentences, rates, headers, certificates; and measurements of this machine."""

import json
import os
import random
import shutil
from functools import cache
from pathlib import Path
from typing import Any, Final

from bench.bert.text.text_file import read_sentences
from bench.capacity.plan.diurnal import read_diurnal
from bench.cli.dispatch import full_parser
from bench.config.check import find_faults
from bench.config.names import known_names
from bench.config.sources import read_settings
from bench.core.cache import cache_dir
from bench.gate.aa_test_store import AATestResult, read_aa_test, store_aa_test
from bench.load.monitor.prometheus import read_page
from bench.load.selftest.self_test import SelfTest, read_self_tests, store_self_tests, stored_ceiling
from bench.serving.headers import read_headers
from bench.serving.tls import TlsOptions, client_context
from bench.workload.arrivals import parse_arrivals
from benchmarks.fuzz.kinds import Kind
from benchmarks.fuzz.mutations import mutate_text

_TLS: Final = Path(__file__).parents[2] / "tests" / "load" / "tls"
_SETTINGS: Final = """model-name = "bert"
[run]
users = 8
duration = "5m"
header = ["a: b", "c: env:HOME"]
arrivals = 'poisson:rate=50'
[gate]
min-effect = "3%"
[gate.calibrate]
seed = 1
[locust]
users = 3
"""
_PAGE: Final = """# TYPE :tensorflow:serving:request_count counter
:tensorflow:serving:request_count{model_name="bert",status="OK"} 12
:tensorflow:serving:request_latency_sum{model_name="bert",API="predict",entrypoint="REST"} 1.5e+06
:tensorflow:serving:request_latency_count{model_name="bert",API="predict",entrypoint="REST"} 12
:tensorflow:serving:runtime_latency_sum{model_name="bert",API="Predict",runtime="TF1"} 88
:tensorflow:serving:batching_session:queuing_latency_sum{model_name="bert"} 42
:tensorflow:serving:batching_session:processed_batch_size_sum{model_name="bert"} 64
"""


def _text(name: str, text: str) -> Any:
    return lambda folder, _secret: (folder / name).write_text(text)


@cache
def _parser() -> Any:
    return full_parser()


def _check(folder: Path) -> object:
    """As `bertbench config check` does."""
    return find_faults(_parser(), read_settings({}, None, folder), known_names())


def _in_cache(folder: Path, make: Any) -> Any:
    """What `make` gives with the cache in `folder`."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        return make()
    finally:
        os.environ.pop("XDG_CACHE_HOME")
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


def _calibration(folder: Path, _secret: Path) -> None:
    found = {name: SelfTest(4000.0, 0.0005, 8, "2026-01-31T12:00:00Z") for name in ("rest-fast", "grpc-fast")}
    _in_cache(folder, lambda: store_self_tests(found))


def _ceiling(folder: Path) -> object:
    def read() -> object:
        return read_self_tests(), stored_ceiling({"rest": "fast", "grpc": "fast"}), cache_dir()

    return _in_cache(folder, read)


def _aa_test(folder: Path, _secret: Path) -> None:
    found = AATestResult(20, 1, 2, 300.0, 0.03, 2.5, "2026-01-31T12:00:00Z")
    _in_cache(folder, lambda: store_aa_test("grpc a", found))


def _alarms(folder: Path) -> object:
    return _in_cache(folder, lambda: str(read_aa_test("grpc a")))


def _tls(folder: Path, _secret: Path) -> None:
    for path in _TLS.glob("*.pem"):
        shutil.copy(path, folder)
    shutil.copy(_TLS / "server.key", folder / "key.pem")


def _use_certificates(folder: Path) -> object:
    files = TlsOptions(folder / "ca.pem", folder / "server.pem", folder / "key.pem")
    client_context(files)
    return files.grpc_credentials()


def _sentences(folder: Path) -> object:
    return [line.text for line in read_sentences(folder / "sentences.tsv")]


def _day(folder: Path) -> object:
    return read_diurnal(folder / "day.csv")


def _trace(folder: Path) -> object:
    return parse_arrivals(f"trace:{folder}/due.txt"), parse_arrivals(f"trace:{folder}/due.csv,column=time,origin=first")


def _traces(folder: Path, _secret: Path) -> None:
    (folder / "due.txt").write_text("# seconds\n" + "".join(f"{at / 7}\n" for at in range(40)))
    (folder / "due.csv").write_text('time,"a ""b"""\n' + "".join(f"{1.7e9 + at / 7},x\n" for at in range(40)))


_LINES: Final = "a cat\n\nthe dog ran !\n" * 5
_DAY: Final = "time,rate\n00:00,100/s\n08:30,30000/m\n12,500\n18:00:30,90\n"


def _mutate_settings(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.8:
        return mutate_text(rng, data)
    value = rng.choice(
        ("1" * 5000, "[" * 5000, "{a=" * 500, "1979-05-27", "[[]]", "inf", "'''\0'''", '"\\u0000"', "0x" + "f" * 99)
    )
    return data + f"\n[run]\nseed = {value}\n".encode() if rng.random() < 0.5 else f"seed = {value}\n".encode() + data


KINDS: Final = (
    Kind("settings", _text("bertbench.toml", _SETTINGS), ("bertbench.toml",), _check, _mutate_settings),
    Kind(
        "pyproject",
        _text("pyproject.toml", "[tool.bertbench]\nseed = 3\n[tool.bertbench.run]\nusers = 4\n[tool.ruff]\nx = 1\n"),
        ("pyproject.toml",),
        _check,
        mutate_text,
    ),
    Kind("sentences", _text("sentences.tsv", _LINES), ("*",), _sentences, mutate_text, named=True),
    Kind("trace", _traces, ("due.*",), _trace, mutate_text, named=True),
    Kind(
        "diurnal",
        _text("day.csv", _DAY),
        ("*",),
        lambda folder: read_diurnal(folder / "day.csv"),
        mutate_text,
        named=True,
    ),
    Kind(
        "header-file",
        _text("token", "Bearer abc def\n"),
        ("token",),
        lambda folder: read_headers([f"Authorization: @{folder}/token"]).metadata(),
        mutate_text,
        named=True,
    ),
    Kind("certificates", _tls, ("*.pem",), _use_certificates, mutate_text, named=True),
    Kind("calibration", _calibration, ("bertbench/*.json",), _ceiling),
    Kind("gate-calibration", _aa_test, ("bertbench/*.json",), _alarms),
    Kind(
        "prometheus-page",
        _text("page", _PAGE),
        ("page",),
        lambda folder: json.dumps(read_page((folder / "page").read_bytes().decode("utf-8", "replace"), "bert")),
        mutate_text,
        named=True,
    ),
)
