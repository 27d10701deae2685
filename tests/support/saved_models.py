"""SavedModels for tests of the embedded server, small enough to build in a moment.

- `affine`: y = 0.5 x + 1 + version, float32, one version a call; with regression and classification signatures.
- `pair`: `a` int32 [-1, 3] and `n` string [-1]; also a gather that can go out of range and an output without a shape.
- `types`: for each type a signature that gives its input back.
- `busy`: counts to `n` in the graph, which takes as long as `n` is large and can be cancelled.
- `gated`: writes `path` + ".began" and answers true once a file `path` is there.
- `doubler`: a TF2 export.
- `layered`: a Keras model, 0.5 x + 3, as Keras saves it.
- `scorer`: a TF2 export that classifies and regresses examples; each signature has an input tensor of its own.
"""

from pathlib import Path
from typing import Any

import tensorflow as tf

v1 = tf.compat.v1
PREDICT = "tensorflow/serving/predict"
# Those that JSON has a form for, and the others.
JSON_TYPES = (
    *(tf.float32, tf.float64, tf.int64, tf.int32, tf.int16, tf.int8, tf.uint8),
    *(tf.uint32, tf.uint64, tf.bool, tf.string),
)
OTHER_TYPES = (
    *(tf.half, tf.bfloat16, tf.uint16, tf.complex64, tf.complex128),
    *(tf.qint8, tf.quint8, tf.qint16, tf.quint16, tf.qint32),
    *(tf.dtypes.experimental.float8_e5m2, tf.dtypes.experimental.float8_e4m3fn),
    *(tf.dtypes.experimental.int4, tf.dtypes.experimental.uint4),
)


def signature(inputs: dict[str, Any], outputs: dict[str, Any], method: str = PREDICT) -> Any:
    info = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        {alias: info(tensor) for alias, tensor in inputs.items()},
        {alias: info(tensor) for alias, tensor in outputs.items()},
        method,
    )


def save(graph: tf.Graph, signatures: dict[str, Any], folder: Path) -> Path:
    """Writes a graph's signatures to a version's folder, which appears whole."""
    partial = folder.parent / f"{folder.name}.partial"
    with v1.Session(graph=graph) as session:
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(partial))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return partial.rename(folder)


def affine(base: Path, version: int) -> Path:
    with tf.Graph().as_default() as graph:
        offset = v1.get_variable("offset", initializer=1.0 + version)
        x = v1.placeholder(tf.float32, [None], "x")
        y = tf.add(0.5 * x, offset, name="y")
        examples = v1.placeholder(tf.string, [None], "examples")
        features = v1.io.parse_example(examples, {"x": v1.FixedLenFeature([1], tf.float32)})
        score = 0.5 * features["x"] + offset
        classes = tf.tile(tf.constant([["low", "high"]]), (tf.shape(score)[0], 1))
        signatures = {
            "serving_default": signature({"x": x}, {"y": y}),
            "both": signature({"x": x}, {"y": y, "z": 10.0 * y}),
            "regress_x": signature({"inputs": examples}, {"outputs": score}, "tensorflow/serving/regress"),
            "classify_x": signature(
                {"inputs": examples},
                {"classes": classes, "scores": tf.concat((score, score + 1.0), axis=1)},
                "tensorflow/serving/classify",
            ),
        }
        return save(graph, signatures, base / str(version))


def pair(base: Path, version: int) -> Path:
    with tf.Graph().as_default() as graph:
        a = v1.placeholder(tf.int32, [None, 3], "a")
        n = v1.placeholder(tf.string, [None], "n")
        table = v1.get_variable("table", initializer=[10.0, 20.0, 30.0])
        signatures = {
            "serving_default": signature(
                {"a": a, "n": n},
                {
                    "total": tf.reduce_sum(a, axis=1, name="total"),
                    "shout": tf.strings.join([n, "!"]),
                    "raw_bytes": tf.strings.join([b"\xff", n]),
                },
            ),
            "pick": signature({"a": a}, {"picked": tf.gather(table, a, name="picked")}),
            "scalar": signature({"a": a}, {"sum": tf.reduce_sum(a)}),
        }
        return save(graph, signatures, base / str(version))


def types(base: Path, version: int) -> Path:
    with tf.Graph().as_default() as graph:
        signatures = {}
        for dtype in JSON_TYPES + OTHER_TYPES:
            x = v1.placeholder(dtype, None, f"x_{dtype.name}")
            signatures[dtype.name] = signature({"x": x}, {"y": tf.identity(x)})
        return save(graph, signatures, base / str(version))


def busy(base: Path, version: int) -> Path:
    with tf.Graph().as_default() as graph:
        n = v1.placeholder(tf.int32, [None], "n")
        step = tf.constant(1)
        counted = tf.while_loop(lambda i: i < n[0], lambda i: (i + step,), (tf.constant(0),))[0]
        return save(
            graph, {"serving_default": signature({"n": n}, {"m": tf.fill(tf.shape(n), counted)})}, base / str(version)
        )


def gated(base: Path, version: int) -> Path:
    with tf.Graph().as_default() as graph:
        path = v1.placeholder(tf.string, [None], "path")
        with tf.control_dependencies([tf.io.write_file(tf.strings.join((path[0], ".began")), "")]):
            start = tf.identity(path[0])

        def is_closed(turn: Any) -> Any:
            # A pattern of the turn, which no optimizer takes out of the loop.
            pattern = tf.strings.join((start, tf.strings.substr(tf.strings.as_string(turn), 0, 0)))
            return tf.equal(tf.size(tf.io.matching_files(pattern)), 0)

        turns = tf.while_loop(is_closed, lambda turn: (turn + 1,), (tf.constant(0, tf.int64),))[0]
        opened = tf.fill(tf.shape(path), turns >= 0)
        return save(graph, {"serving_default": signature({"path": path}, {"opened": opened})}, base / str(version))


class Doubler(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def call(self, x: Any) -> Any:
        return {"doubled": self.factor * x}


def doubler(base: Path, version: int) -> Path:
    module = Doubler()
    folder = base / str(version)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.call})
    return folder


def layered(base: Path, version: int) -> Path:
    start = tf.keras.initializers.Constant
    layer = tf.keras.layers.Dense(1, input_shape=(1,), kernel_initializer=start(0.5), bias_initializer=start(3.0))
    folder = base / str(version)
    tf.keras.Sequential([layer]).save(str(folder), save_format="tf")
    return folder


class Scorer(tf.Module):
    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = tf.Variable(offset)

    def score(self, examples: Any) -> Any:
        return 0.5 * tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"] + self.offset

    def classes(self, examples: Any) -> Any:
        return tf.tile(tf.constant([["low", "high"]]), (tf.shape(examples)[0], 1))


def scorer(base: Path, version: int) -> Path:
    module = Scorer(1.0 + version)
    outputs = {
        "serving_default": lambda examples: {"outputs": module.score(examples)},
        "regress_x": lambda examples: {"outputs": 10.0 * module.score(examples)},
        "classify_x": lambda examples: {
            "classes": module.classes(examples),
            "scores": tf.concat((module.score(examples), -module.score(examples)), axis=1),
        },
        "only_scores": lambda examples: {"scores": module.score(examples)},
        "only_classes": lambda examples: {"classes": module.classes(examples)},
    }
    spec = tf.TensorSpec([None], tf.string, "inputs")

    def traced(function: Any) -> Any:
        return tf.function(lambda inputs: function(inputs)).get_concrete_function(spec)

    folder = base / str(version)
    tf.saved_model.save(module, str(folder), signatures={name: traced(made) for name, made in outputs.items()})
    return folder
