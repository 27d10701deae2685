"""Golden answers: what the Estimator gave for each sentence, and how far an answer may lie from it.

Format history of `assets.extra/golden.json`:
    1: first.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.bert.model_folder import latest_version
from bench.bert.requests import FixedShape
from bench.bert.sentence import EncodedSentence, SpecialTokens
from bench.errors import UsageError

FORMAT: Final = 1
FILE_NAME: Final = "golden.json"


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
        return -output if self.output == "nll" else np.log(output)


@dataclass(frozen=True)
class Golden:
    """All golden answers of one exported model.

    Args:
        checkpoint_digest: `sha256:` and the hex digest over the checkpoint's variables.
        source: where the checkpoint came from, for people.
        tokenizer: what `Tokenizer.describe` tells: the vocabulary's digest and all that changes tokens.
        special: ids of the special tokens.
        max_pieces: the longest sentence that the model takes, in WordPieces without [CLS] and [SEP].
        precision: `float32` or `bfloat16`.
        tolerance: the largest |Δ log p| of a piece that still counts as the same answer.
        precision_shift: largest |Δ log p| that the export precision made against float32; 0.0 for float32.
        sentences: sentences and answers, in the order of the file they came from.
        fixed: None for an export with both signatures; else the shapes and the output of the article's alone.
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

    def to_json(self) -> bytes:
        """The file's bytes."""
        return orjson.dumps(
            {
                "format": FORMAT,
                "checkpoint_digest": self.checkpoint_digest,
                "source": self.source,
                "tokenizer": self.tokenizer,
                "special_tokens": {name: getattr(self.special, name) for name in ("pad", "unk", "cls", "sep", "mask")},
                "max_pieces": self.max_pieces,
                "precision": self.precision,
                "tolerance": self.tolerance,
                "precision_shift": self.precision_shift,
                "fixed": _fixed_to_json(self.fixed),
                "sentences": [_sentence_to_json(golden) for golden in self.sentences],
            },
            option=orjson.OPT_INDENT_2,
        )

    @classmethod
    def from_json(cls, data: bytes, where: str = FILE_NAME) -> "Golden":
        """Reads a file's bytes.

        Raises:
            UsageError: not a golden file, or a newer format than this version reads.
        """
        try:
            raw = orjson.loads(data)
            if not isinstance(raw, dict) or "format" not in raw or not isinstance(raw.get("sentences"), list):
                raise UsageError(f"{where} is not a golden file of bertbench; export the model again")
            if raw["format"] != FORMAT:
                raise UsageError(
                    f"{where} has golden format {raw['format']}, this version reads {FORMAT}; update bertbench"
                )
            return cls(
                checkpoint_digest=raw["checkpoint_digest"],
                source=raw["source"],
                tokenizer=raw["tokenizer"],
                special=SpecialTokens(**raw["special_tokens"]),
                max_pieces=raw["max_pieces"],
                precision=raw["precision"],
                tolerance=raw["tolerance"],
                precision_shift=raw["precision_shift"],
                fixed=_fixed_from_json(raw["fixed"]),
                sentences=tuple(_sentence_from_json(entry) for entry in raw["sentences"]),
            )
        except KeyError as error:
            raise UsageError(f"{where} is not a whole golden file (no {error}); export the model again") from error
        except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
            raise UsageError(f"{where} is not a golden file ({error}); export the model again") from error


def _fixed_to_json(fixed: FixedExport | None) -> dict[str, Any] | None:
    if fixed is None:
        return None
    return {"length": fixed.shape.length, "max_predictions": fixed.shape.max_predictions, "output": fixed.output}


def _fixed_from_json(raw: dict[str, Any] | None) -> FixedExport | None:
    if raw is None:
        return None
    return FixedExport(FixedShape(raw["length"], raw["max_predictions"]), raw["output"])


def _sentence_to_json(golden: GoldenSentence) -> dict[str, Any]:
    sentence = golden.sentence
    words = [0.0] * sentence.num_words
    for word, log_prob in zip(sentence.word_ids, golden.log_prob, strict=True):
        words[word] += float(log_prob)
    return {
        "text": sentence.text,
        "pieces": sentence.pieces,
        "token_ids": sentence.token_ids,
        "word_ids": sentence.word_ids,
        "log_prob": [float(value) for value in golden.log_prob],
        "word_prob": [float(np.exp(value)) for value in words],
    }


def _sentence_from_json(entry: dict[str, Any]) -> GoldenSentence:
    sentence = EncodedSentence(
        text=entry["text"],
        pieces=tuple(entry["pieces"]),
        token_ids=tuple(entry["token_ids"]),
        word_ids=tuple(entry["word_ids"]),
    )
    log_prob = np.asarray(entry["log_prob"], np.float32)
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
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(
            f"no golden answers {path}: requests and checks are made of them; export the model with bertbench export"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); export the model with bertbench export") from error
    if not data.strip():
        raise UsageError(f"{path} is empty; export the model again")
    return GoldenFile.of(data, str(path))
