"""Makes the weight files of this folder with PyTorch itself. Run by hand; the tests read what it wrote:

    python3.10 -m venv venv && venv/bin/pip install torch==1.12.1 transformers==4.26.1 safetensors 'numpy<2'
    venv/bin/python tests/bert/torch_files/make.py tests/bert/torch_files

All hold one BERT of random weights, which `expected.json` has the probabilities of, computed by `transformers`.
"""

import json
import math
import pickle
import shutil
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForMaskedLM

OUT = Path(sys.argv[1])
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("the", "a", "cat", "dog", "book", "desk", "on", "in", "is", "was", "there", "and", "ran", "sat"),
    *("un", "##believ", "##able", "##ly", "##s", ",", ".", "!"),
]
SENTENCES = {
    "the cat sat on the desk .": [[5], [7], [18], [11], [5], [10], [25]],
    "unbelievable , the dogs ran !": [[19, 20, 21], [24], [5], [8, 23], [17], [26]],
}


def make_model() -> BertForMaskedLM:
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=16,
        initializer_range=0.4,
    )
    model = BertForMaskedLM(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim == 1:
                value.add_(0.3 * torch.randn_like(value))
    return model


def word_prob(model: BertForMaskedLM, words: list) -> list:  # type: ignore[type-arg]
    found = []
    for masked in range(len(words)):
        ids = [2] + [4 if index == masked else piece for index, word in enumerate(words) for piece in word] + [3]
        start = 1 + sum(len(word) for word in words[:masked])
        with torch.no_grad():
            log_prob = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        found.append(math.exp(sum(float(log_prob[start + at, piece]) for at, piece in enumerate(words[masked]))))
    return found


def flat(state: dict) -> OrderedDict:  # type: ignore[type-arg]
    """All tensors as views of one storage, two-dimensional ones transposed in it."""
    values = {
        name: value.t() if value.ndim == 2 else value for name, value in state.items() if value.is_floating_point()
    }
    whole = torch.cat([torch.zeros(3), *(value.reshape(-1) for value in values.values())])
    made, at = OrderedDict(), 3
    for name, value in values.items():
        part = whole[at : at + value.numel()].view(value.shape)
        made[name] = torch.nn.Parameter(part.t() if value.ndim == 2 else part)
        at += value.numel()
    return made


def main() -> None:
    model = make_model()
    state = model.state_dict()
    model.save_pretrained(OUT / "saved")  # pytorch_model.bin, zip
    for name in ("config.json", "pytorch_model.bin"):
        (OUT / "saved" / name).replace(OUT / {"config.json": "config.json", "pytorch_model.bin": "zip.bin"}[name])
    model.save_pretrained(OUT / "saved", max_shard_size="4KB")
    for path in [*(OUT / "saved").glob("pytorch_model*")]:
        path.replace(OUT / "shards" / path.name)
    tied = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
    save_file({name: value for name, value in state.items() if name not in tied}, OUT / "model.safetensors")
    torch.save(state, OUT / "legacy.bin", _use_new_zipfile_serialization=False)
    for name, kind in (("half", torch.float16), ("bfloat16", torch.bfloat16), ("double", torch.float64)):
        cast = {key: value.to(kind) if value.is_floating_point() else value for key, value in state.items()}
        torch.save(cast, OUT / f"{name}.bin", _use_new_zipfile_serialization=name != "half")
    torch.save(flat(state), OUT / "views.bin")
    torch.save(flat(state), OUT / "views_legacy.bin", _use_new_zipfile_serialization=False, pickle_protocol=4)
    wrapped = {
        "state_dict": {f"model.{name}": value for name, value in state.items()},
        "epoch": 3,
        "lr_schedulers": [{"last_lr": (1e-4, None)}],
    }
    torch.save(wrapped, OUT / "wrapped.bin", pickle_protocol=pickle.HIGHEST_PROTOCOL)
    expected = {text: word_prob(model, words) for text, words in SENTENCES.items()}
    (OUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    (OUT / "vocab.txt").write_text("".join(f"{piece}\n" for piece in VOCABULARY))


(OUT / "shards").mkdir(exist_ok=True)
main()
shutil.rmtree(OUT / "saved")
