"""Golden answers: what the Estimator gave for each sentence, and how far an answer may lie from it.

Format history of `assets.extra/golden.json`:
    1: first.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.bert.contract.masked_requests import MOST_IDS, FixedShape
from bench.bert.contract.model_folder import latest_version
from bench.bert.text.sentence import EncodedSentence, SpecialTokens
from bench.core.bounded_files import MEBIBYTE, read_regular
from bench.core.errors import UsageError
from bench.core.versioned_json import VersionedJson, shallow

FILE_NAME: Final = "golden.json"
# More than the positions of a row of any model.
_MOST_POSITIONS: Final = 1 << 16
_LARGEST_LOG: Final = 1e6
_MOST_BYTES: Final = 256 * MEBIBYTE


@dataclass(frozen=True)
class GoldenSentence:
    """A sentence and its answer.

    Args:
        sentence: the tokenized sentence, N pieces.
        log_prob: the Estimator's natural log-probability of each piece, float32, N.
    """

    sentence: EncodedSentence
    log_prob: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FixedExport:
    """What an export with fixed shapes, the article's to the letter, takes and gives.

    Args:
        shape: the padding of its inputs.
        output: what its one output `output` holds: `prob`, as in the article, or `nll`, the negative log-likelihood, as
            in bert-as-language-model.
    """

    shape: FixedShape
    output: str

    def __post_init__(self) -> None:
        if self.output not in ("prob", "nll"):
            raise ValueError(f"the output is prob or nll, not {self.output!r}")

    def log_prob(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """Natural log-probabilities from the values of `output`."""
        if self.output == "nll":
            return -output
        with np.errstate(divide="ignore", invalid="ignore"):
            # A probability of 0 is the log-probability -inf, which no golden answer holds.
            return np.log(output)


@dataclass(frozen=True)
class Golden:
    """All golden answers of one exported model.

    Args:
        checkpoint_digest: `sha256:` and the hex digest of the checkpoint, see `checkpoints.variables.digest_model`.
        source: where the checkpoint came from, for people.
        tokenizer: what `Tokenizer.describe` tells: the vocabulary's digest and all that changes tokens.
        special: ids of the special tokens.
        max_pieces: the longest sentence that the model takes, in WordPieces without [CLS] and [SEP].
        precision: `float32` or `bfloat16`.
        tolerance: the largest |Δ log p| of a piece that still counts as the same answer.
        precision_shift: largest |Δ log p| that the export precision made against float32; 0.0 for float32.
        sentences: sentences and answers, in the order of the file they came from.
        fixed: None for an export with both signatures; else those of an export with only the article's.
        top_k: likeliest WordPieces that the signature `score_top_k` gives; 0 for an export without it.
    """

    checkpoint_digest: str
    source: str
    tokenizer: dict[str, Any]
    special: SpecialTokens
    max_pieces: int
    precision: str
    tolerance: float
    precision_shift: float
    sentences: tuple[GoldenSentence, ...]
    fixed: FixedExport | None = None
    top_k: int = 0

    def to_json(self) -> bytes:
        """The file's bytes."""
        fixed = self.fixed and _Fixed(self.fixed.shape.length, self.fixed.shape.max_predictions, self.fixed.output)
        fields = shallow(self) | {"fixed": fixed, "sentences": tuple(map(_stored, self.sentences))}
        return _FILE.encode(_Stored(special_tokens=fields.pop("special"), **fields))

    @cached_property
    def identity(self) -> str:
        """`sha256:` and the hex digest of all that is here but `source`: the model, its precision, shapes and answers.

        Exports whose models compute something else have answers of their own, thus other digests.
        """
        return "sha256:" + sha256(replace(self, source="").to_json()).hexdigest()

    @classmethod
    def from_json(cls, data: bytes, where: str = FILE_NAME) -> "Golden":
        """Reads a file's bytes.

        Raises:
            UsageError: not a golden file, or a newer format than this version reads.
        """
        found = _FILE.decode(data, where)
        fields, fixed = shallow(found), found.fixed
        try:
            _check_numbers(found)
            fields["fixed"] = fixed and FixedExport(FixedShape(fixed.length, fixed.max_predictions), fixed.output)
            fields["sentences"] = tuple(map(_golden_sentence, found.sentences))
            return cls(special=fields.pop("special_tokens"), **fields)
        except ValueError as error:
            raise UsageError(f"{where} is not a golden file ({error}); {_FILE.cure}") from error


@dataclass(frozen=True, slots=True)
class _Fixed:
    """A `FixedExport` in the file."""

    length: int
    max_predictions: int
    output: str


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A `GoldenSentence` in the file; `word_prob`, the probability of each word, is for people."""

    text: str
    pieces: tuple[str, ...]
    token_ids: tuple[int, ...]
    word_ids: tuple[int, ...]
    log_prob: tuple[float, ...]
    word_prob: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class _Stored:
    """The file; see `Golden`."""

    checkpoint_digest: str
    source: str
    tokenizer: dict[str, Any]
    special_tokens: SpecialTokens
    max_pieces: int
    precision: str
    tolerance: float
    precision_shift: float
    fixed: _Fixed | None
    sentences: tuple[_Sentence, ...]
    top_k: int = 0


def _check_numbers(found: _Stored) -> None:
    """Refuses numbers that no model has: a file may hold any.

    Raises:
        ValueError: there is one.
    """
    special = shallow(found.special_tokens).items()
    counts = {**dict(special), "max_pieces": found.max_pieces, "top_k": found.top_k}
    for name, count in counts.items():
        if not 0 <= count < MOST_IDS:
            raise ValueError(f"{name} is {count}")
    for name, count in shallow(found.fixed).items() if found.fixed is not None else ():
        if name != "output" and not 0 < count <= _MOST_POSITIONS:
            raise ValueError(f"{name} is {count}")
    for name in ("tolerance", "precision_shift"):
        if not 0 <= getattr(found, name) < _LARGEST_LOG:
            raise ValueError(f"{name} is {getattr(found, name)}")


_FILE: Final = VersionedJson(
    _Stored,
    1,
    name="golden file",
    cure="export the model again",
    exact=False,
    optional=("top_k",),
    option=orjson.OPT_INDENT_2,
)


def _stored(golden: GoldenSentence) -> _Sentence:
    sentence, log_prob = golden.sentence, tuple(map(float, golden.log_prob))
    words = [0.0] * sentence.num_words
    for word, value in zip(sentence.word_ids, log_prob, strict=True):
        words[word] += value
    word_prob = tuple(float(np.exp(value)) for value in words)
    return _Sentence(sentence.text, sentence.pieces, sentence.token_ids, sentence.word_ids, log_prob, word_prob)


def _golden_sentence(entry: _Sentence) -> GoldenSentence:
    if not all(0 <= index < MOST_IDS for index in entry.token_ids):
        raise ValueError(f"a token id of {entry.text!r} is none")
    if not all(abs(value) < _LARGEST_LOG for value in entry.log_prob):
        raise ValueError(f"a log_prob of {entry.text!r} is none")
    sentence = EncodedSentence(entry.text, entry.pieces, entry.token_ids, entry.word_ids)
    log_prob = np.asarray(entry.log_prob, np.float32)
    if log_prob.shape != (sentence.num_pieces,):
        raise ValueError(f"log_prob of {sentence.text!r} has {log_prob.size} values for {sentence.num_pieces} pieces")
    return GoldenSentence(sentence, log_prob)


@dataclass(frozen=True)
class GoldenFile:
    """A golden file that was read.

    Args:
        golden: what it holds.
        data: its bytes, for processes that have no model folder.
    """

    golden: Golden
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, data: bytes, where: str = FILE_NAME) -> "GoldenFile":
        """The file whose bytes are `data`.

        Raises:
            UsageError: not a golden file, or a newer format than this version reads.
        """
        return cls(Golden.from_json(data, where), data)

    @property
    def digest(self) -> str:
        """Digest of the file, thus of the sentences: `sha256:` and hexadecimal digits."""
        return "sha256:" + sha256(self.data).hexdigest()


def read_golden(model_dir: Path) -> GoldenFile:
    """The golden answers of the newest version under `model_dir`.

    Raises:
        UsageError: no version, no golden file, or one that cannot be read.
    """
    path = latest_version(model_dir) / "assets.extra" / FILE_NAME
    try:
        data = read_regular(path, _MOST_BYTES)
    except FileNotFoundError:
        raise UsageError(
            f"no golden answers {path}: requests and checks are made of them; export the model with bertbench export"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); export the model with bertbench export") from error
    if not data.strip():
        raise UsageError(f"{path} is empty; export the model again")
    return GoldenFile.of(data, str(path))
