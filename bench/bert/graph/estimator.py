"""TF: the masked language model as a `tf.estimator.Estimator`.

Features, all int32: `input_ids`, `input_mask`, `segment_ids` `[R, S]`, `masked_lm_positions`, `masked_lm_ids` `[R, P]`
with unused slots 0. In TRAIN and EVAL `masked_lm_weights` float32 `[R, P]` is the weight of each slot in the loss, 0
for unused ones. Predictions of a row: `log_prob` and `prob`, float32 `[P]`, of the true piece of each slot.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bench.bert.config import BertConfig
from bench.bert.contract.masked_requests import LOG_PROB, PROB
from bench.bert.graph.backbone import Network
from bench.bert.graph.masked_lm import label_log_prob, masked_lm, slot_log_prob
from bench.bert.graph.optimizer import TrainingHyperparameters, train_op

v1 = tf.compat.v1


def make_estimator(
    config: BertConfig,
    model_dir: Path | str | None,
    *,
    training: TrainingHyperparameters | None = None,
    initial: Mapping[str, NDArray[np.float32]] | None = None,
    run_config: Any = None,
) -> Any:
    """The Estimator.

    Args:
        config: the model's shape.
        model_dir: its folder of checkpoints and summaries; None is a temporary one.
        training: needed by `train` only.
        initial: values of all model variables to start training from where `model_dir` has no checkpoint yet; None
            starts from fresh ones.
        run_config: a `tf.estimator.RunConfig`; its own `model_dir` must be None or the same.

    Returns:
        A `tf.compat.v1.estimator.Estimator`, which has `export_saved_model` and the article's `export_savedmodel`.
    """
    folder = None if model_dir is None else str(model_dir)
    model_fn = make_model_fn(config, training, initial)
    return v1.estimator.Estimator(model_fn=model_fn, model_dir=folder, config=run_config)


def make_model_fn(
    config: BertConfig, training: TrainingHyperparameters | None, initial: Mapping[str, NDArray[np.float32]] | None
) -> Callable[[Mapping[str, Any], Any, str], Any]:
    """The Estimator's `model_fn`; see `make_estimator`."""

    def model_fn(features: Mapping[str, Any], labels: Any, mode: str) -> Any:
        training_now = mode == tf.estimator.ModeKeys.TRAIN
        head = masked_lm(Network(config, training=training_now), features)
        variables = v1.trainable_variables()
        if mode == tf.estimator.ModeKeys.PREDICT:
            return _predict_spec(slot_log_prob(head, features), variables)
        weights, true = (tf.reshape(features[name], (-1,)) for name in ("masked_lm_weights", "masked_lm_ids"))
        logits = head.logits()
        log_prob = label_log_prob(logits, true, training_now)
        # As in google-research/bert: the mean over the slots in use; the small number guards a batch that has none.
        loss = -tf.reduce_sum(weights * log_prob) / (tf.reduce_sum(weights) + 1e-5)
        if mode == tf.estimator.ModeKeys.EVAL:
            return _eval_spec(loss, logits, log_prob, true, weights)
        if training is None:
            raise ValueError("make_estimator was given no training hyperparameters")
        return tf.estimator.EstimatorSpec(
            mode, loss=loss, train_op=train_op(training, loss, variables), scaffold=_start_from(initial, variables)
        )

    return model_fn


def predict_scaffold(variables: Sequence[Any]) -> Any:
    """Restores exactly the model's variables: no global step is wanted, and a missing variable is an error."""
    # Restoring has set every variable there is, or failed; the default would also look for the global step.
    missing = tf.constant([], tf.string)
    saver = v1.train.Saver(var_list=list(variables))
    return v1.train.Scaffold(saver=saver, ready_op=missing, ready_for_local_init_op=missing)


def _predict_spec(log_prob: Any, variables: Sequence[Any]) -> Any:
    outputs = {LOG_PROB: log_prob, PROB: tf.exp(log_prob)}
    return tf.estimator.EstimatorSpec(
        tf.estimator.ModeKeys.PREDICT,
        predictions=outputs,
        export_outputs={
            tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: tf.estimator.export.PredictOutput(outputs),
        },
        scaffold=predict_scaffold(variables),
    )


def _eval_spec(loss: Any, logits: Any, log_prob: Any, true: Any, weights: Any) -> Any:
    guessed = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.estimator.EstimatorSpec(
        tf.estimator.ModeKeys.EVAL,
        loss=loss,
        eval_metric_ops={
            "masked_lm_accuracy": v1.metrics.accuracy(true, guessed, weights=weights),
            "masked_lm_loss": v1.metrics.mean(-log_prob, weights=weights),
        },
    )


def _start_from(initial: Mapping[str, NDArray[np.float32]] | None, variables: Sequence[Any]) -> Any:
    """A scaffold that loads `initial` where training starts afresh; with a checkpoint in the folder it is not run."""
    if initial is None:
        return None

    fed = [v1.placeholder(variable.dtype.base_dtype, variable.shape) for variable in variables]
    load = tf.group(*(variable.assign(value) for variable, value in zip(variables, fed, strict=True)))
    feed = {value: initial[variable.op.name] for variable, value in zip(variables, fed, strict=True)}

    def run(_scaffold: Any, session: Any) -> None:
        session.run(load, feed)

    return v1.train.Scaffold(init_fn=run)
