"""The short form of `make fuzz`: a few mutations of each kind of file, and the files that once were not refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fuzz.files import Fuzzer
from benchmarks.fuzz.kinds import MODULES, kinds_of

CORPUS = Path(__file__).parent / "corpus"
SEEDS = range(6)


def kinds() -> Iterator[tuple[str, str]]:
    """Module and name of every kind."""
    for module in MODULES:
        for name in NAMES[module]:
            yield module, name


# Named here, so that no module is loaded while tests are collected.
NAMES = {
    "setting_files": (
        *("settings", "pyproject", "sentences", "trace", "diurnal", "header-file", "certificates", "calibration"),
        *("gate-calibration", "prometheus-page"),
    ),
    "run_files": (
        *("run-manifest", "run-changed", "run-records", "run-samples", "run-sentences", "unfinished-manifest"),
        *("unfinished-records", "unfinished-samples", "baselines", "gate-verdict", "sweep", "capacity-model"),
        "score-journal",
    ),
    "checkpoint_files": (
        *("tf-index", "tf-data", "state-file", "safetensors", "torch-zip", "torch-legacy", "torch-wrapped"),
        *("torch-index", "safetensors-index", "google-config", "hugging-face-config", "tokenizer-json"),
        *(
            "tokenizer-config",
            "special-tokens-map",
            "vocab-txt",
            "golden",
            "export-vocabulary",
            "training-record",
            "evaluations",
        ),
    ),
    "server_files": ("model-config", "batching-config", "monitoring-config", "ssl-config", "warm-up", "saved-model"),
}


@pytest.mark.parametrize(("module", "name"), list(kinds()))
def test_broken_files_are_refused_in_one_line_or_read_rightly(
    module: str, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if name == "warm-up":
        request.getfixturevalue("demo_model")
    fuzzer = Fuzzer(kinds_of(module)[name], tmp_path)
    try:
        assert sum(fuzzer.try_seed(seed) for seed in SEEDS) <= len(SEEDS)
        for path in sorted((CORPUS / name).glob("*")) if (CORPUS / name).is_dir() else ():
            assert fuzzer.refuses(path.read_bytes()), f"{path} is accepted"
    finally:
        fuzzer.close()


@pytest.mark.parametrize("module", MODULES)
def test_every_kind_is_tried(module: str) -> None:
    assert set(kinds_of(module)) == set(NAMES[module])
    assert all(path.name in {name for names in NAMES.values() for name in names} for path in CORPUS.iterdir())
