"""Presets: BERTs of the published sizes with seeded random weights, for performance work only.

Their answers mean nothing; their computation is that of the real ones. The vocabulary is the demo checkpoint's,
followed by unused entries up to the published size, so that text is tokenized as usual.
"""

from typing import Final

from bench.bert.checkpoints.types import Checkpoint
from bench.bert.checkpoints.variables import fresh_variables
from bench.bert.config import PRESETS
from bench.bert.text.tokenizer import Tokenizer

_SEED: Final = 20_181_011


def open_preset(name: str, demo: Tokenizer) -> Checkpoint:
    """The preset `name`, one of `bench.bert.config.PRESETS`, over the demo checkpoint's vocabulary."""
    config = PRESETS[name]
    unused = (f"[unused{index}]" for index in range(len(demo.vocabulary), config.vocab_size))
    tokenizer = Tokenizer((*demo.vocabulary, *unused), demo.options)
    return Checkpoint(config, tokenizer, fresh_variables(config, _SEED), f"preset {name}, random weights")
