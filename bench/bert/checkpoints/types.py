"""What every kind of checkpoint is read into."""

from dataclasses import dataclass
from functools import cached_property

from bench.bert.checkpoints.variables import Variables, check_variables, digest_model
from bench.bert.config import BertConfig
from bench.bert.text.tokenizer import Tokenizer
from bench.core.errors import UsageError


@dataclass(frozen=True)
class Checkpoint:
    """A masked language model at rest.

    Args:
        config: its shape.
        tokenizer: its vocabulary and how it cuts text.
        variables: float32 values by Google's names, exactly those of
            `bench.bert.checkpoints.variables.variable_shapes`.
        source: where it came from, for people.

    Raises:
        UsageError: a variable is missing or has another shape, or the vocabulary is larger than the embeddings.
    """

    config: BertConfig
    tokenizer: Tokenizer
    variables: Variables
    source: str

    def __post_init__(self) -> None:
        check_variables(self.config, {name: value.shape for name, value in self.variables.items()}, self.source)
        if len(self.tokenizer.vocabulary) > self.config.vocab_size:
            raise UsageError(
                f"{self.source}: the vocabulary has {len(self.tokenizer.vocabulary)} pieces and the model takes "
                f"{self.config.vocab_size}; give the vocabulary that belongs to the checkpoint"
            )

    @cached_property
    def digest(self) -> str:
        """See `digest_model`."""
        return digest_model(self.config, self.variables)
