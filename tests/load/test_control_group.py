"""CPU and memory of a container or service, from control groups of both versions in a folder of the test."""

import time
from pathlib import Path

import pytest

from bench.core.errors import TargetError, UsageError
from bench.load.monitor.control_group import GroupUsage

ID = "c0ffee" * 10
MIB = 1 << 20


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def version_1(folder: Path) -> tuple[Path, int]:
    """The file of CPU time and its unit a second."""
    write(folder / "proc/7/cgroup", f"4:cpu,cpuacct:/docker/{ID}\n3:memory:/docker/{ID}\n0::/system.slice\n")
    group = f"docker/{ID}"
    write(folder / f"trees/memory/{group}/memory.usage_in_bytes", f"{100 * MIB}\n")
    write(folder / f"trees/memory/{group}/memory.stat", f"cache 1\ntotal_inactive_file {30 * MIB}\n")
    return write(folder / f"trees/cpuacct/{group}/cpuacct.usage", f"{5 * 10**9}\n"), 10**9


def version_2(folder: Path) -> tuple[Path, int]:
    group = f"system.slice/docker-{ID}.scope"
    write(folder / "proc/7/cgroup", f"0::/{group}\n")
    write(folder / f"trees/{group}/memory.current", f"{100 * MIB}\n")
    write(folder / f"trees/{group}/memory.stat", f"anon 1\ninactive_file {30 * MIB}\n")
    return write(folder / f"trees/{group}/cpu.stat", "usage_usec 5000000\nuser_usec 1\n"), 10**6


@pytest.mark.parametrize("version", [version_1, version_2])
def test_cores_and_memory_in_use(version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    file, second = version(tmp_path)
    usage = GroupUsage.of_container(7, ID, tmp_path / "proc", tmp_path / "trees")
    file.write_text(file.read_text().replace(str(5 * second), str(8 * second)))
    cores, memory = usage.look()
    assert cores == pytest.approx(1.5)
    assert memory == 70 * MIB


@pytest.mark.parametrize("version", [version_1, version_2])
def test_a_container_that_ends(version, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file, _ = version(tmp_path)
    usage = GroupUsage.of_container(7, ID, tmp_path / "proc", tmp_path / "trees")
    file.unlink()
    with pytest.raises(OSError, match="No such file"):
        usage.look()


def test_another_process_is_not_taken_for_the_container_s(tmp_path: Path) -> None:
    """Where the Engine runs on another machine, its process ids name processes of that machine."""
    write(tmp_path / "proc/7/cgroup", "0::/user.slice\n")
    with pytest.raises(TargetError, match="not in a control group"):
        GroupUsage.of_container(7, ID, tmp_path / "proc", tmp_path / "trees")
    with pytest.raises(TargetError, match="has ended"):
        GroupUsage.of_container(8, ID, tmp_path / "proc", tmp_path / "trees")


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        (
            f"4:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n",
            {f"cpuacct/docker/{ID}/cpuacct.usage": "1"},
        ),
        (f"0::/docker/outer/docker/{ID}\n", {f"docker/{ID}/cpu.stat": "usage_usec 5"}),
        (f"0::/docker/{ID}\n", {f"docker/{ID}/cpu.stat": "usage_usec 5"}),
    ],
    ids=["version 1 without memory", "the host's path in a container", "version 2 without memory"],
)
def test_groups_without_cpu_and_memory_are_one_line(groups: str, files: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "proc/7/cgroup", groups)
    for name, text in files.items():
        write(tmp_path / "trees" / name, text)
    with pytest.raises(TargetError, match="control group of container c0ffeec0ffee has no CPU and memory here"):
        GroupUsage.of_container(7, ID, tmp_path / "proc", tmp_path / "trees")


@pytest.mark.parametrize("version", [version_1, version_2])
def test_a_group_that_is_named(version, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file, _ = version(tmp_path)
    assert GroupUsage.at(file.parent).look()[1] == 70 * MIB


def test_groups_of_version_1_that_are_mounted_on_their_own(tmp_path: Path) -> None:
    write(tmp_path / "host/cpuacct/cpuacct.usage", "1\n")
    write(tmp_path / "host/memory/memory.usage_in_bytes", "5\n")
    write(tmp_path / "host/memory/memory.stat", "total_inactive_file 2\n")
    assert GroupUsage.at(tmp_path / "host/cpuacct").look()[1] == 3


@pytest.mark.parametrize("text", [None, "", "usage_usec many\n"])
def test_a_folder_that_is_no_control_group(text: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "group"
    if text is not None:
        write(folder / "cpu.stat", text)
        write(folder / "memory.current", text)
    with pytest.raises(UsageError, match=r"group is not a control group with CPU and memory; give one like"):
        GroupUsage.at(folder)
