"""The batching of a server, read from its flags."""

from pathlib import Path

import pytest

from bench.core.errors import BenchError
from bench.server.batching import batching_of


@pytest.mark.parametrize(
    "flags", [(), ("--enable_batching=false",), ("--enable_batching", "false"), ("--rest_api_port=8501",)]
)
def test_a_server_without_batching(flags: tuple[str, ...]) -> None:
    assert batching_of(flags) is None


@pytest.mark.parametrize("flag", ["--enable_batching", "--enable_batching=true", "enable_batching=1"])
def test_the_parameters_of_the_file(flag: str, tmp_path: Path) -> None:
    file = tmp_path / "batching.txt"
    file.write_text("max_batch_size { value: 16 } batch_timeout_micros { value: 2000 } num_batch_threads { value: 3 }")
    # In one word, or in two as the embedded server takes them.
    for words in ((f"--batching_parameters_file={file}",), ("--batching_parameters_file", str(file))):
        found = batching_of((flag, *words))
        assert found is not None
        assert (found.batch_limit, found.batch_timeout, found.num_batch_threads) == (16, 0.002, 3)
    defaults = batching_of((flag,))
    assert defaults is not None
    assert defaults.batch_limit == 1000


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="nothing"):
        batching_of(("--enable_batching", f"--batching_parameters_file={tmp_path / 'nothing.txt'}"))
