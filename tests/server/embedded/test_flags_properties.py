"""The binary's flags: each value is read back in each form, and any words give flags or one line."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.server.embedded.base.status import StartError
from bench.server.embedded.config.flags import RANGES, Flags, channel_arguments, parse_flags

BASE = "--model_base_path=/m"
# These have limits of their own or combined limits.
BOUND = {**RANGES, "port": (1, 65535), "tensorflow_session_parallelism": (0, 0)}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
BY_KIND: dict[type, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    float: st.floats(0, 1),
    str: TEXT.filter(lambda text: not text.startswith("-")),
}


def values(name: str, kind: type) -> st.SearchStrategy[Any]:
    """Values that a flag takes."""
    return st.integers(*BOUND.get(name, (-(1 << 31), (1 << 31) - 1))) if kind is int else BY_KIND[kind]


KINDS = {field.name: type(field.default) for field in fields(Flags)}
CHOSEN = st.fixed_dictionaries(
    {}, optional={name: values(name, kind) for name, kind in KINDS.items() if name != "batching_parameters_file"}
)


@given(CHOSEN, st.randoms(use_true_random=False))
def test_values_are_read_back_in_every_form(chosen: dict[str, Any], order: Any) -> None:
    words = []
    for name, value in chosen.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        words.append([f"--{name}={text}"] if order.random() < 0.5 else [f"--{name}", text])
    order.shuffle(words)
    flags, warnings = parse_flags([BASE, *(word for each in words for word in each)])
    assert flags == Flags(**{"model_base_path": "/m", **chosen})
    assert not warnings


@given(st.lists(st.sampled_from([BASE, "--port", "--port=", "--enable_batching", "--", "-"]) | TEXT, max_size=5))
def test_any_words_are_flags_or_one_line(words: list[str]) -> None:
    try:
        flags, _ = parse_flags(words)
    except StartError as error:
        assert str(error)
    else:
        assert flags.port or flags.grpc_socket_path


@pytest.mark.parametrize("text", ["1_0", "\u0663", "5 ", "1e3", "0x10", ""])
@pytest.mark.parametrize("name", ["port", "rest_api_port", "load_retry_interval_micros"])
def test_numbers_are_read_as_the_binary_reads_them(name: str, text: str) -> None:
    with pytest.raises(StartError, match="is not a whole number"):
        parse_flags([BASE, f"--{name}={text}"])


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z.]{1,8}", fullmatch=True),
            st.integers(-(1 << 31), (1 << 31) - 1) | st.from_regex(r"[a-z]{0,5}", fullmatch=True),
        ),
        max_size=4,
    )
)
def test_channel_arguments_are_read_back(pairs: list[tuple[str, int | str]]) -> None:
    assert channel_arguments(",".join(f"{name}={value}" for name, value in pairs)) == tuple(pairs)


@given(st.text("ab=,-10²\n", max_size=20))
def test_channel_arguments_of_anything_are_read_or_refused(text: str) -> None:
    try:
        assert all(name + "=" in text for name, _ in channel_arguments(text))
    except StartError as error:
        assert "has no value" in str(error) or "give a number of 32 bits" in str(error)
