"""TF: Adam with decoupled weight decay, linear warm-up and linear decay, as BERT was trained.

Devlin et al. 2019, appendix A.2; like its authors' code, Adam's moments are not corrected for their start at zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from bench.core.errors import UsageError

v1 = tf.compat.v1


@dataclass(frozen=True, slots=True)
class TrainingHyperparameters:
    """How to train.

    Args:
        steps: batches in the whole run; the learning rate reaches 0 there.
        warmup_steps: batches over which the learning rate rises from 0.
        learning_rate: its peak.
        weight_decay: a step's shrinking of the weights, times the learning rate; biases and norms are left out.
        clip_norm: the gradients' global norm is cut to this.
        beta_1: decay of Adam's mean.
        beta_2: decay of Adam's mean square.
        epsilon: added to the root of the mean square.
    """

    steps: int
    warmup_steps: int = 0
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 <= self.warmup_steps < self.steps:
            raise UsageError(f"{self.warmup_steps} warm-up steps of {self.steps} steps; warm-up must be the smaller")
        if not self.learning_rate > 0:
            raise UsageError(f"the learning rate must be above zero, not {self.learning_rate}")


def learning_rate(training: TrainingHyperparameters, step: Any) -> Any:
    """The rate at `step` (int64 scalar): up from 0 over the warm-up, then on a line to 0 at `steps`."""
    now = tf.cast(step, tf.float32)
    decayed = training.learning_rate * tf.maximum(0.0, 1.0 - now / training.steps)
    if not training.warmup_steps:
        return decayed
    rising = training.learning_rate * (now + 1.0) / training.warmup_steps
    return tf.where(now < training.warmup_steps, rising, decayed)


def train_op(training: TrainingHyperparameters, loss: Any, variables: Sequence[Any]) -> Any:
    """One step: gradients of `loss`, clipped, applied to `variables`; the global step goes up by one."""
    step = v1.train.get_or_create_global_step()
    rate = learning_rate(training, step)
    v1.summary.scalar("learning_rate", rate)
    gradients = [tf.convert_to_tensor(gradient) for gradient in v1.gradients(loss, variables)]
    clipped, _ = tf.clip_by_global_norm(gradients, training.clip_norm)
    updates = [
        _adam_update(training, rate, variable, gradient) for variable, gradient in zip(variables, clipped, strict=True)
    ]
    with tf.control_dependencies(updates):
        return v1.assign_add(step, 1)


def _adam_update(training: TrainingHyperparameters, rate: Any, variable: Any, gradient: Any) -> Any:
    name = variable.op.name
    mean, square = (
        v1.get_variable(f"{name}/{slot}", variable.shape, trainable=False, initializer=v1.zeros_initializer())
        for slot in ("adam_m", "adam_v")
    )
    decay = 0.0 if "LayerNorm" in name or name.endswith("bias") else training.weight_decay
    # Decay first: both terms of the step are then taken from the weights as they were.
    with tf.control_dependencies([gradient]):
        shrunk = variable.assign_sub(rate * decay * variable) if decay else tf.no_op()
    with tf.control_dependencies([shrunk]):
        return tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=mean.handle,
            v=square.handle,
            beta1_power=0.0,  # no correction of the moments' start
            beta2_power=0.0,
            lr=rate,
            beta1=training.beta_1,
            beta2=training.beta_2,
            epsilon=training.epsilon,
            grad=gradient,
        )
