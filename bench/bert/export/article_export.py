"""TF: the article's way to a SavedModel, the alternative to `bench.bert.export.export`.

`export_savedmodel` wants a checkpoint in the Estimator's own folder, which a downloaded BERT is not. The article gets
one by predicting once with a `CheckpointSaverHook`: the graph takes its values from the checkpoint by name as it is
initialised, and the hook saves them. Three things to know about it:

- `predict` is lazy: nothing is saved before its first answer is taken.
- A folder that holds a checkpoint already wins over the one to start from: give it a fresh one.
- A name that the checkpoint lacks keeps its random weights in silence with `init_from_checkpoint` over the names that
  both have, as BERT's own code does it. Here all variables are asked for, so that it is an error.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bench.bert.graph.backbone import Network
from bench.bert.graph.reference_scorers import EstimatorModel
from bench.bert.graph.signatures import make_export_model_fn, serving_input_receiver_fn

v1 = tf.compat.v1


def export_by_prediction(model: EstimatorModel, folder: Path, inputs: Mapping[str, NDArray[np.int32]]) -> Path:
    """Exports both signatures the article's way.

    Args:
        model: config, checkpoint prefix and special tokens.
        folder: a fresh folder; it gets the Estimator's checkpoint, and the SavedModel under `export/<unix seconds>/`.
        inputs: a batch for the one prediction, with the inputs of both signatures.

    Returns:
        The SavedModel's folder.
    """
    estimator = v1.estimator.Estimator(_model_fn(model), model_dir=str(folder))
    saver = v1.train.CheckpointSaverHook(str(folder), save_steps=1)
    answers = estimator.predict(lambda: dict(inputs), hooks=[saver], yield_single_examples=False)
    next(answers)
    answers.close()
    # The old name; `export_saved_model` is what it calls.
    made = estimator.export_savedmodel(str(folder / "export"), serving_input_receiver_fn(), strip_default_attrs=True)
    return Path(os.fsdecode(made))


def _model_fn(model: EstimatorModel) -> Callable[[Mapping[str, Any], Any, str], Any]:
    build = make_export_model_fn(Network(model.config), model.special)

    def model_fn(features: Mapping[str, Any], labels: Any, mode: str) -> Any:
        features = {name: tf.convert_to_tensor(value) for name, value in features.items()}
        spec = build(features, labels, mode)
        names = [variable.op.name for variable in v1.trainable_variables()]
        v1.train.init_from_checkpoint(str(model.prefix), dict(zip(names, names, strict=True)))
        return spec._replace(scaffold=None)

    return model_fn
