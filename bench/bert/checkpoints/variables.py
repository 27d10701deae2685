"""The model's variables by Google's names: which there are, fresh values, checks, a digest. numpy only."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from bench.bert.config import ACTIVATIONS, BertConfig
from bench.core.errors import UsageError

Variables = Mapping[str, NDArray[np.float32]]

HEAD_SCOPE: Final = "cls/predictions"
_ENCODER_SCOPE: Final = "bert/"
_POOLER_SCOPE: Final = "bert/pooler/"
# Scalars of a training run, which some optimizers make in the model's scope.
_COUNTERS: Final = frozenset(("global_step", "beta1_power", "beta2_power", "good_steps", "iter", "loss_scale"))
# In the name of a variable: bert/encoder/layer_0/attention/output/LayerNorm/gamma has seven.
_MOST_PARTS: Final = 7
_HEAD_SEED: Final = 0
# Activation, width of a head and epsilon of LayerNorm in every published BERT.
_USUAL: Final = ("gelu", 64, 1e-12)


def variable_shapes(config: BertConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every variable of the masked language model.

    The pooler and the next-sentence head of released checkpoints take no part in it.
    """
    return dict(_shapes(config))


def _shapes(config: BertConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden = config.hidden_size
    yield "bert/embeddings/word_embeddings", (config.vocab_size, hidden)
    yield "bert/embeddings/position_embeddings", (config.max_position_embeddings, hidden)
    yield "bert/embeddings/token_type_embeddings", (config.type_vocab_size, hidden)
    yield from _norm("bert/embeddings", hidden)
    for layer in range(config.num_hidden_layers):
        scope = f"bert/encoder/layer_{layer}"
        for name in ("query", "key", "value"):
            yield from _dense(f"{scope}/attention/self/{name}", hidden, hidden)
        yield from _dense(f"{scope}/attention/output/dense", hidden, hidden)
        yield from _norm(f"{scope}/attention/output", hidden)
        yield from _dense(f"{scope}/intermediate/dense", hidden, config.intermediate_size)
        yield from _dense(f"{scope}/output/dense", config.intermediate_size, hidden)
        yield from _norm(f"{scope}/output", hidden)
    yield from _dense(f"{HEAD_SCOPE}/transform/dense", hidden, hidden)
    yield from _norm(f"{HEAD_SCOPE}/transform", hidden)
    yield f"{HEAD_SCOPE}/output_bias", (config.vocab_size,)


def _dense(scope: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{scope}/kernel", (inputs, outputs)
    yield f"{scope}/bias", (outputs,)


def _norm(scope: str, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{scope}/LayerNorm/beta", (size,)
    yield f"{scope}/LayerNorm/gamma", (size,)


def fresh_variables(config: BertConfig, seed: int, scope: str = "") -> dict[str, NDArray[np.float32]]:
    """Seeded random values of the variables under `scope`, as BERT starts from: truncated normal, zeros, ones."""
    random = np.random.default_rng(seed)
    values: dict[str, NDArray[np.float32]] = {}
    for name, shape in _shapes(config):
        if not name.startswith(scope):
            continue
        if name.endswith(("bias", "beta")):
            values[name] = np.zeros(shape, np.float32)
        elif name.endswith("gamma"):
            values[name] = np.ones(shape, np.float32)
        else:
            values[name] = _truncated_normal(random, shape, config.initializer_range)
    return values


def _truncated_normal(random: np.random.Generator, shape: tuple[int, ...], deviation: float) -> NDArray[np.float32]:
    """Normal values; those beyond two deviations are drawn again."""
    values = random.standard_normal(shape, np.float32)
    while (far := np.abs(values) > 2).any():
        values[far] = random.standard_normal(int(far.sum()), np.float32)
    return values * np.float32(deviation)


def check_variables(config: BertConfig, found: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Compares a checkpoint's variables with the model's.

    What stands under a variable of the model or of the pooler (slots of any optimizer, moving averages), and what lies
    outside of encoder and masked-LM head (other heads, counters), takes no part in the model.

    Args:
        config: the model's shape.
        found: shapes of the checkpoint's variables under Google's names.
        where: names the checkpoint in messages.

    Raises:
        UsageError: a missing variable, one of another shape, or one in the encoder or the masked-LM head that the model
            does not have; the message names it.
    """
    expected = variable_shapes(config)
    for name, shape in expected.items():
        if name in found and tuple(found[name]) != shape:
            raise UsageError(
                f"{where}: {name} has shape {list(found[name])} and the config asks for {list(shape)}; "
                "give the config that belongs to the checkpoint"
            )
    _check_complete(expected, found, where)
    unexpected = sorted(name for name in found if _changes_model(name, tuple(found[name]), expected))
    if unexpected:
        more = f" and {len(unexpected) - 1} more" if len(unexpected) > 1 else ""
        raise UsageError(
            f"{where} has {unexpected[0]}{more}, which the config's model does not have; "
            "give the config that belongs to it, or the weights of a plain BERT"
        )


def _check_complete(expected: Mapping[str, Any], found: Mapping[str, Any], where: str) -> None:
    missing = [name for name in expected if name not in found]
    if not any(name.startswith(_ENCODER_SCOPE) for name in expected.keys() & found.keys()):
        there = ", ".join(sorted(found)[:3]) or "nothing"
        raise UsageError(
            f"{where} holds no BERT weights under Google's names ({missing[0]}) but {there}; give one that does"
        )
    if missing and all(name.startswith(HEAD_SCOPE) for name in missing):
        whole = len(missing) == sum(name.startswith(HEAD_SCOPE) for name in expected)
        raise UsageError(
            f"{where} has no masked-LM head ({missing[0]}); give one that has, or make a fresh one with --init-head"
            if whole
            else f"{where} lacks {missing[0]} of the masked-LM head; give a complete checkpoint"
        )
    if missing:
        more = f" and {len(missing) - 1} more variables" if len(missing) > 1 else ""
        raise UsageError(f"{where} lacks {missing[0]}{more}; give the config that belongs to the checkpoint")


def _changes_model(name: str, shape: tuple[int, ...], expected: Mapping[str, Any]) -> bool:
    """Whether a variable stands where the model's are, and is neither one of them nor known to be none."""
    if name in expected or not name.startswith((_ENCODER_SCOPE, f"{HEAD_SCOPE}/")) or name.startswith(_POOLER_SCOPE):
        return False
    if shape == () and name.rpartition("/")[2] in _COUNTERS:
        return False
    # Of a name with a million parts only as many as a variable's has are looked at.
    parts = name.split("/", _MOST_PARTS)
    return not any("/".join(parts[:count]) in expected for count in range(1, len(parts)))


def to_float32(value: NDArray[Any], name: str, where: str) -> NDArray[np.float32]:
    """A stored variable as float32.

    Raises:
        UsageError: its numbers are not floating-point (quantized weights need more than a cast), or not finite.
    """
    if value.dtype.kind != "f" and value.dtype != ml_dtypes.bfloat16:
        raise UsageError(f"{where}: {name} is stored as {value.dtype}; only floating-point weights are supported")
    with np.errstate(over="ignore"):
        cast = np.asarray(value, np.float32)
    if not np.isfinite(cast).all():
        raise UsageError(f"{where}: {name} has NaN or infinite values; give a checkpoint whose training converged")
    return cast


def absent_head(config: BertConfig, found: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of the variables of the masked-LM head, if `found` has none of them; else nothing."""
    if any(name.startswith(HEAD_SCOPE) for name in found):
        return {}
    return {name: shape for name, shape in _shapes(config) if name.startswith(HEAD_SCOPE)}


def fresh_head(config: BertConfig) -> dict[str, NDArray[np.float32]]:
    """Seeded random values of the masked-LM head; to be made once the checkpoint is known to fit the config."""
    return fresh_variables(config, _HEAD_SEED, HEAD_SCOPE)


def digest_model(config: BertConfig, variables: Variables) -> str:
    """`sha256:` and the hex digest over all that decides a model's answers to the same WordPieces.

    That is names, shapes and values in the order of names, and what of the config they do not show, where it differs
    from a published BERT's: a model whose config is usual has the digest of its variables.
    """
    digest = hashlib.sha256()
    for name in sorted(variables):
        value = np.ascontiguousarray(variables[name], np.float32)
        digest.update(f"{name} {value.shape}\n".encode())
        digest.update(value.data)
    computed = (ACTIVATIONS[config.hidden_act], config.size_per_head, config.layer_norm_eps)
    if computed != _USUAL:
        digest.update(f"{computed}\n".encode())
    return "sha256:" + digest.hexdigest()
