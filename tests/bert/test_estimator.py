"""The Estimator's modes against numpy: the optimiser's steps, what EVAL reports, what PREDICT restores."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bench.bert.checkpoints.google import write_variables
from bench.bert.checkpoints.types import Checkpoint
from bench.bert.contract.masked_requests import article_inputs
from bench.bert.graph.estimator import make_estimator
from bench.bert.graph.optimizer import TrainingHyperparameters, learning_rate, train_op
from bench.core.errors import UsageError
from tests.bert.conftest import encode
from tests.bert.test_model import oracle_answers

v1 = tf.compat.v1


def features(checkpoint: Checkpoint) -> dict[str, Any]:
    """Every word of two sentences masked once; the weight of a slot is whether it is in use."""
    inputs = article_inputs(encode()[:2], checkpoint.tokenizer.special)
    weights = (inputs["masked_lm_positions"] > 0).astype(np.float32)
    return {**inputs, "masked_lm_weights": weights}


def batches(values: dict[str, Any], count: int) -> Callable[[], Any]:
    return lambda: tf.data.Dataset.from_tensors(values).repeat(count)


class Losses(v1.train.SessionRunHook):  # type: ignore[name-defined]
    """Notes the loss of each step."""

    def __init__(self, losses: list[float]) -> None:
        self._losses = losses

    def begin(self) -> None:
        (self._loss,) = v1.get_collection(v1.GraphKeys.LOSSES)

    def before_run(self, run_context: Any) -> Any:
        return v1.train.SessionRunArgs(self._loss)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self._losses.append(float(run_values.results))


def test_the_learning_rate_rises_and_falls_on_lines() -> None:
    training = TrainingHyperparameters(steps=100, warmup_steps=10, learning_rate=1.0)
    steps = [0, 4, 9, 10, 55, 99, 100, 200]
    with tf.Graph().as_default(), v1.Session() as session:
        rates = session.run([learning_rate(training, tf.constant(step, tf.int64)) for step in steps])
    np.testing.assert_allclose(rates, [0.1, 0.5, 1.0, 0.9, 0.45, 0.01, 0.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": 5, "warmup_steps": 5}, {"steps": 5, "learning_rate": 0.0}])
def test_hyperparameters_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        TrainingHyperparameters(**wrong)


def test_steps_are_adam_with_decoupled_decay_and_clipping() -> None:
    """Three steps on a quadratic, beside the same written in numpy; the bias is not decayed."""
    training = TrainingHyperparameters(steps=10, learning_rate=0.1, weight_decay=0.5, clip_norm=2.0)
    start = {"dense/kernel": np.array([[3.0, -2.0]]), "dense/bias": np.array([0.5, 4.0])}
    with tf.Graph().as_default(), v1.Session() as session:
        variables = [v1.get_variable(name, initializer=value.astype(np.float32)) for name, value in start.items()]
        loss = tf.add_n([tf.reduce_sum(tf.square(variable)) for variable in variables])
        step = train_op(training, loss, variables)
        session.run(v1.global_variables_initializer())
        for _ in range(3):
            session.run(step)
        given = session.run(variables)
        assert session.run(v1.train.get_global_step()) == 3
    state = {name: (value.copy(), np.zeros_like(value), np.zeros_like(value)) for name, value in start.items()}
    for number in range(3):
        gradients = {name: 2 * value for name, (value, _, _) in state.items()}
        norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
        assert norm > training.clip_norm, "the test is to see the clipping"
        rate = training.learning_rate * (1 - number / training.steps)
        for name, (value, mean, square) in state.items():
            gradient = gradients[name] * training.clip_norm / norm
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            step_ = mean / (np.sqrt(square) + 1e-6) + (0.5 * value if name.endswith("kernel") else 0)
            state[name] = (value - rate * step_, mean, square)
    for value, name in zip(given, start, strict=True):
        np.testing.assert_allclose(value, state[name][0], rtol=1e-5)


def test_eval_reports_the_loss_and_accuracy_of_the_slots_in_use(checkpoint: Checkpoint, tmp_path: Path) -> None:
    write_variables(tmp_path / "model.ckpt-3", {**checkpoint.variables, "global_step": np.array(3, np.int64)})
    found = make_estimator(checkpoint.config, tmp_path).evaluate(
        batches(features(checkpoint), 2), checkpoint_path=str(tmp_path / "model.ckpt-3")
    )
    expected = -np.concatenate(oracle_answers(checkpoint, encode()[:2])).mean()
    assert found["masked_lm_loss"] == pytest.approx(expected, abs=1e-4)
    assert found["loss"] == pytest.approx(expected, abs=1e-3)
    assert found["global_step"] == 3
    assert 0 <= found["masked_lm_accuracy"] < 0.5, "random weights guess badly"


def test_training_starts_from_the_values_given_and_goes_on_from_its_own(checkpoint: Checkpoint, tmp_path: Path) -> None:
    training = TrainingHyperparameters(steps=60, learning_rate=3e-3)
    values = features(checkpoint)
    config = replace(checkpoint.config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    estimator = make_estimator(config, tmp_path, training=training, initial=checkpoint.variables)
    expected = -np.concatenate(oracle_answers(checkpoint, encode()[:2])).mean()
    losses: list[float] = []

    estimator.train(batches(values, 1000), max_steps=30, hooks=[Losses(losses)])
    assert losses[0] == pytest.approx(expected, abs=1e-3)
    estimator.train(batches(values, 1000), max_steps=60, hooks=[Losses(losses)])
    assert len(losses) == 60
    assert losses[30] < 1.1 * losses[29], "it went on from where it was"
    assert losses[-1] < 0.5 * losses[0]


def test_predict_wants_every_variable(checkpoint: Checkpoint, tmp_path: Path) -> None:
    missing = "cls/predictions/transform/dense/bias"
    write_variables(tmp_path / "part", {name: v for name, v in checkpoint.variables.items() if name != missing})
    inputs = article_inputs(encode()[:1], checkpoint.tokenizer.special)
    rows = make_estimator(checkpoint.config, tmp_path).predict(
        batches(inputs, 1), checkpoint_path=str(tmp_path / "part")
    )
    with pytest.raises(Exception, match=missing):
        next(rows)


def test_training_without_hyperparameters_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hyperparameters"):
        make_estimator(checkpoint.config, tmp_path).train(batches(features(checkpoint), 1), steps=1)
