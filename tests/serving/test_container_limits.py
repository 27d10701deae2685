import pytest

from bench.core.errors import UsageError
from bench.serving.container_limits import ContainerLimits


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("cpus=1", ContainerLimits(cpus=1.0)),
        ("cpus=0.5,memory=2GB", ContainerLimits(cpus=0.5, memory=2_000_000_000)),
        ("memory=512MiB", ContainerLimits(memory=512 << 20)),
        ("memory=6MiB", ContainerLimits(memory=6 << 20)),
        ("memory=6300kB", ContainerLimits(memory=6_300_000)),
        ("cpuset=0-3,6,cpus=1.5", ContainerLimits(cpus=1.5, cpuset="0-3,6")),
        (" cpuset=2 , memory=1.5GB", ContainerLimits(memory=1_500_000_000, cpuset="2")),
    ],
)
def test_limits_are_read_and_written_back(text: str, limits: ContainerLimits) -> None:
    assert ContainerLimits.parse(text) == limits
    assert ContainerLimits.parse(str(limits)) == limits


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cpu=1", "did you mean cpus?"),
        ("", "is not a limit"),
        ("cpus", "is not a limit"),
        ("cpus=", "is not a limit"),
        ("cpus=0", "cpus: "),
        ("cpus=nan", "cpus: "),
        ("memory=2", "memory: "),
        ("memory=1MB", "too little"),
        # The Engine takes 6 MiB, which is 6,291,456 bytes.
        ("memory=6MB", "too little for a container; give 6MiB or more"),
        ("memory=6291kB", "too little"),
        ("cpuset=a", "not a list of cores"),
        ("cpuset=0-", "not a list of cores"),
        ("cpus=1,cpus=2", "given twice"),
    ],
)
def test_anything_else_is_refused_by_its_name(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        ContainerLimits.parse(text)
    assert "\n" not in str(caught.value)


def test_no_limit_is_no_text() -> None:
    assert str(ContainerLimits()) == ""
