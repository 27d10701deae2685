"""Versions on disk, and which of them a policy wants."""

from pathlib import Path

import pytest

from bench.server.embedded.models.versions import parse_version, read_policy, versions_on_disk
from bench.serving.protos import model_server_config_pb2

FOUND = {1: Path("1"), 2: Path("2"), 10: Path("10")}


@pytest.mark.parametrize(
    ("name", "version"),
    [("1", 1), ("00000123", 123), ("1600000000", 1600000000), (str(2**63 - 1), 2**63 - 1), ("0", 0)],
)
def test_names_that_are_versions(name: str, version: int) -> None:
    assert parse_version(name) == version


@pytest.mark.parametrize("name", ["", "x", "1x", "-1", "1.5", str(2**63), "²", "temp-1"])
def test_names_that_are_none(name: str) -> None:
    assert parse_version(name) is None


def test_only_folders_count(tmp_path: Path) -> None:
    for name in ("01", "1", "007", "temp-8"):
        (tmp_path / name).mkdir()
    (tmp_path / "9").write_text("")
    assert versions_on_disk(tmp_path) == {1: tmp_path / "1", 7: tmp_path / "007"}


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ({}, [10]),
        ({"latest": {"num_versions": 2}}, [10, 2]),
        ({"latest": {"num_versions": 0}}, [10]),
        ({"all": {}}, [10, 2, 1]),
        ({"specific": {"versions": [1, 10, 99]}}, [10, 1]),
    ],
)
def test_policies(policy: dict[str, object], wanted: list[int]) -> None:
    config = model_server_config_pb2.ModelConfig(model_version_policy=policy)
    if "all" in policy:
        config.model_version_policy.all.SetInParent()
    read = read_policy(config.model_version_policy)
    assert read.wanted(FOUND) == wanted
    assert read.wanted({}) == []
