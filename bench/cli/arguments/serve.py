"""The arguments of `bertbench serve`."""

import argparse
from pathlib import Path

from bench.cli.common.values import PORT, Value
from bench.core.units import parse_bytes
from bench.serving.container_limits import parse_cpus
from bench.serving.types import DEFAULT_MODEL_NAME, GRPC_PORT, REST_PORT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("model_dir", type=Path, metavar="MODEL_DIR", help="exported model, MODEL_DIR/<version>/")
    parser.add_argument("--backend", choices=("embedded", "docker", "binary"), default="embedded")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="docker: which image (default: cpu)")
    parser.add_argument("--cpus", type=Value(parse_cpus), metavar="N", help="docker: cores that it may use, like 1.5")
    parser.add_argument("--memory", type=Value(parse_bytes), metavar="SIZE", help="docker: memory, like 4GB; no swap")
    parser.add_argument("--cpuset", default="", metavar="CORES", help="docker: cores that it may run on, like 0-3,6")
    parser.add_argument("--binary", type=Path, metavar="PATH", help="binary: path of tensorflow_model_server")
    parser.add_argument("--model-name", default=DEFAULT_MODEL_NAME)
    parser.add_argument("--grpc-port", type=PORT, default=GRPC_PORT)
    parser.add_argument("--rest-port", type=PORT, default=REST_PORT)
    parser.add_argument(
        "--server-flag", action="append", default=[], metavar="FLAG", help="a flag for the server; repeatable"
    )
    parser.add_argument("--log", type=Path, help="file for the server's output")
