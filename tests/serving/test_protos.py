"""Serving's messages come without the TensorFlow runtime, and leave room for it."""

import subprocess
import sys

import pytest


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_clients_do_not_load_the_runtime() -> None:
    """All of `bench.serving` loads without `tensorflow.python` and without a library of the runtime."""
    code = """
import importlib, pkgutil, sys
import bench.serving
for module in pkgutil.iter_modules(bench.serving.__path__):
    importlib.import_module("bench.serving." + module.name)
assert "tensorflow" not in sys.modules
assert not any(name.startswith("tensorflow.python") for name in sys.modules)
libraries = open("/proc/self/maps").read()
assert "libtensorflow" not in libraries and "_pywrap_tensorflow" not in libraries
print("clean")
"""
    assert run_python(code) == "clean\n"


@pytest.mark.parametrize("order", ["protos first", "tensorflow first"])
def test_the_real_tensorflow_shares_the_messages(order: str) -> None:
    """Whichever of the two comes first, TensorFlow works and its TensorProto is the class used here."""
    imports = ["from bench.serving.protos import tensor_pb2", "import tensorflow as tf"]
    if order == "tensorflow first":
        imports.reverse()
    code = "\n".join(
        [
            *imports,
            "from bench.serving.tensors import from_proto, to_proto",
            "import numpy as np",
            "import tensorflow.core.framework.types_pb2",
            "proto = tf.make_tensor_proto([1.5, 2.5])",
            "assert type(proto) is tensor_pb2.TensorProto",
            "ours = tensor_pb2.TensorProto.FromString(to_proto(np.array([1.5, 2.5], np.float32)).SerializeToString())",
            "assert from_proto(proto).tolist() == tf.make_ndarray(ours).tolist()",
            "assert not hasattr(tf, 'core')",
            "print(tf.estimator.Estimator.__name__, int(tf.constant(3) + 4))",
        ]
    )
    assert run_python(code) == "EstimatorV2 7\n"
