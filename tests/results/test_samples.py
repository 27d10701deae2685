"""Sample files and the environment."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import UsageError
from bench.results import environment
from bench.results.environment import MORE_GPUS, differences, this_environment
from bench.results.manifest import update_to_7
from bench.results.samples import ClientSample, SampleFile, ServerSample, counter_rate, read_samples
from tests.support.synthetic_runs import ENVIRONMENT


def test_samples_round_trip_with_empty_cells(tmp_path: Path) -> None:
    path = tmp_path / "server-metrics.csv"
    file = SampleFile(path, ServerSample)
    file.append(ServerSample(time=0.0, cpu=1.5))
    file.append(ServerSample(time=1.0, rest_count=7.0, rest_seconds=0.1))
    file.close()
    columns = read_samples(path, ServerSample)
    np.testing.assert_array_equal(columns["time"], [0, 1])
    np.testing.assert_array_equal(columns["cpu"], [1.5, np.nan])
    np.testing.assert_array_equal(columns["rest_seconds"], [np.nan, 0.1])


def test_what_no_reader_takes_is_not_stored(tmp_path: Path) -> None:
    path = tmp_path / "server-metrics.csv"
    file = SampleFile(path, ServerSample)
    for value in (math.inf, math.nan, -1e-12, 1e300, 2.5):
        file.append(ServerSample(time=1.0, rest_seconds=value))
    file.close()
    np.testing.assert_array_equal(read_samples(path, ServerSample)["rest_seconds"], [np.nan] * 4 + [2.5])


def test_a_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "client-metrics.csv"
    file = SampleFile(path, ClientSample)
    for second in range(3):
        file.append(ClientSample(time=float(second), worker=0, cpu=0.25))
    file.close()
    path.write_bytes(path.read_bytes()[:-4])
    assert read_samples(path, ClientSample)["time"].tolist() == [0, 1]


def test_a_line_of_one_cell_is_not_a_sample(tmp_path: Path) -> None:
    """It was read as that value in all columns."""
    path = tmp_path / "client-metrics.csv"
    path.write_text(",".join(ClientSample.__slots__) + "\n5\n")
    with pytest.raises(UsageError, match=r"line 2 is not a sample \(1 cell, not 9\)"):
        read_samples(path, ClientSample)


def test_files_of_older_formats_lack_the_last_columns(tmp_path: Path) -> None:
    path = tmp_path / "client-metrics.csv"
    names = [name for name in ClientSample.__slots__ if name != "users"]
    path.write_text(",".join(names) + "\n" + ",".join("7" for _ in names) + "\n")
    found = read_samples(path, ClientSample)
    assert found["machine_cpu"].tolist() == [7]
    assert np.isnan(found["users"]).tolist() == [True]
    path.write_text("time,worker\n1,2\n")
    with pytest.raises(UsageError, match="has the columns time,worker"):
        read_samples(path, ClientSample)


def test_no_file_is_no_samples_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "client-metrics.csv"
    assert read_samples(path, ClientSample)["time"].size == 0
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="has the columns a,b"):
        read_samples(path, ClientSample)


def test_counters_become_rates_and_a_restart_is_no_rate() -> None:
    samples = {"time": np.array([0.0, 1.0, 3.0, 4.0]), "requests_ok": np.array([10.0, 30.0, 70.0, 0.0])}
    np.testing.assert_array_equal(counter_rate(samples, "requests_ok"), [np.nan, 20.0, 20.0, np.nan])


def test_this_environment_reads_back_and_equals_itself() -> None:
    here = this_environment(gpus=("Example GPU",))
    assert here.cores >= here.cores_allowed >= 1
    assert here.packages["numpy"] == np.__version__
    assert f"MemTotal:{here.memory // 1024:15d} kB\n" in Path("/proc/meminfo").read_text()
    assert f'PRETTY_NAME="{here.system}"\n' in Path("/etc/os-release").read_text()
    assert differences(here, this_environment(gpus=("Example GPU",))) == {}


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (("A", "A"), ("A", "A"), True),
        (("A", "A"), ("A",), False),
        # Version 0.2 wrote the first of several.
        (("A", MORE_GPUS), ("A", "A"), True),
        (("A",), ("A", MORE_GPUS), True),
        (("A", MORE_GPUS), ("A", MORE_GPUS), True),
        (("A", MORE_GPUS), ("B", "A"), False),
        (("A", MORE_GPUS), (), False),
        (("A", MORE_GPUS), ("B", MORE_GPUS), False),
        ((), (), True),
    ],
)
def test_gpus_of_which_the_first_is_known_are_compared_by_that(
    a: tuple[str, ...], b: tuple[str, ...], same: bool
) -> None:
    found = [replace(ENVIRONMENT, gpus=gpus) for gpus in (a, b)]
    assert ("gpus" not in differences(*found), "gpus" not in differences(*found[::-1])) == (same, same)


def test_a_run_of_version_0_2_has_the_first_gpu() -> None:
    """Its format is 3, and what it has of a machine with eight GPUs is one name."""
    old = {"environment": {"host": "a", "gpus": ["A"]}}
    assert update_to_7(old)["environment"] == {"host": "a", "gpus": ["A", MORE_GPUS]}
    assert update_to_7({"environment": {"gpus": []}})["environment"] == {"gpus": []}
    assert old["environment"]["gpus"] == ["A"]


@pytest.mark.parametrize(
    ("own", "files", "cpu", "memory"),
    [
        # CPUQuota and MemoryMax of a service, above it a slice.
        (
            "0::/a.slice/b.service\n",
            {
                "cgroup.controllers": "cpu memory",
                "a.slice/cpu.max": "300000 100000",
                "a.slice/memory.max": "4096",
                "a.slice/b.service/cpu.max": "max 100000",
                "a.slice/b.service/memory.max": "8192",
            },
            3.0,
            4096,
        ),
        (
            "4:memory:/x/y\n3:cpu,cpuacct:/x\n0::/\n",
            {
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
                "cpu/x/cpu.cfs_quota_us": "50000",
                "cpu/x/cpu.cfs_period_us": "100000",
                "memory/x/y/memory.limit_in_bytes": "4096",
            },
            0.5,
            4096,
        ),
        # The container's own group is the root of what it sees.
        ("3:cpu:/docker/1\n", {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0, None),
        ("", {"cgroup.controllers": "", "cpu.max": "150000 100000"}, 1.5, None),
    ],
)
def test_limits_of_all_control_groups_of_the_process_hold(
    own: str,
    files: dict[str, str],
    cpu: float | None,
    memory: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "own").write_text(own)
    monkeypatch.setattr(environment, "_TREES", tmp_path)
    monkeypatch.setattr(environment, "_OWN_GROUPS", tmp_path / "own")
    found = this_environment()
    assert (found.cpu_limit, found.memory_limit) == (cpu, memory)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"load_average": 3.0, "git_commit": "abc"}, []),
        ({"host": "another"}, []),  # the same boot: another container of one machine
        ({"boot_id": "another"}, []),  # the same machine, started again
        ({"host": "another", "boot_id": "another"}, ["host"]),
        ({"cpu_model": "Other", "cores": 4}, ["cores", "cpu_model"]),
        ({"packages": {"numpy": "2.0"}}, ["packages.locust", "packages.numpy"]),
    ],
)
def test_differences_are_named(change: dict[str, object], named: list[str]) -> None:
    other = replace(ENVIRONMENT, **change)  # type: ignore[arg-type]
    assert sorted(differences(ENVIRONMENT, other)) == named
