"""A golden file of a model that nobody trained: made-up answers to made-up sentences."""

from pathlib import Path

import numpy as np

from bench.bert.contract.golden import FILE_NAME, Golden, GoldenSentence
from bench.bert.text.sentence import EncodedSentence, SpecialTokens

SPECIAL = SpecialTokens(pad=0, unk=1, cls=2, sep=3, mask=4)


def toy_sentence(rng: np.random.Generator, words: int) -> EncodedSentence:
    """`words` words of one to three pieces."""
    counts = rng.choice([1, 1, 1, 2, 3], words)
    word_ids = np.repeat(np.arange(words), counts)
    ids = rng.integers(5, 4000, word_ids.size)
    starts = np.diff(word_ids, prepend=-1) > 0
    pieces = tuple(f"{'' if start else '##'}p{token}" for start, token in zip(starts, ids, strict=True))
    return EncodedSentence(" ".join(pieces), pieces, tuple(ids.tolist()), tuple(word_ids.tolist()))


def toy_golden(sentences: int = 40, seed: int = 1, words: tuple[int, int] = (3, 30)) -> Golden:
    rng = np.random.default_rng(seed)
    entries = []
    for _ in range(sentences):
        sentence = toy_sentence(rng, int(rng.integers(*words)))
        log_prob = -rng.exponential(3.0, sentence.num_pieces).astype(np.float32)
        entries.append(GoldenSentence(sentence, log_prob))
    return Golden(
        checkpoint_digest=f"sha256:{seed:064x}",
        source="toy",
        tokenizer={"vocab_digest": "sha256:0", "do_lower_case": True},
        special=SPECIAL,
        max_pieces=126,
        precision="float32",
        tolerance=1e-4,
        precision_shift=0.0,
        sentences=tuple(entries),
    )


def write_model_dir(folder: Path, golden: Golden | None = None) -> Path:
    """A model folder with nothing in it but the golden file."""
    extra = folder / "1" / "assets.extra"
    extra.mkdir(parents=True)
    (extra / FILE_NAME).write_bytes((golden or toy_golden()).to_json())
    return folder
