"""Floating-point numbers as Serving writes them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from bench.server.embedded.rest.json_decimals import MANY, decimal, decimals, rows


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"),
        (3.0, "3.0"),
        (-0.0, "-0.0"),
        (4.04e-06, "4.04e-06"),
        (3.1666667, "3.16666675"),
        (123456.789, "123456.789"),
        (9000000.0, "9e+06"),
        (16777216.0, "16777216.0"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (float("nan"), "NaN"),
    ],
)
def test_six_digits_of_a_float_if_they_suffice_else_nine(value: float, text: str) -> None:
    assert decimal(float(np.float32(value))).decode() == text
    for count in (1, 200):
        assert decimals(np.full(count, value, np.float32)) == [text.encode()] * count


def test_seventeen_digits_of_a_double() -> None:
    assert decimal(0.1, double=True) == b"0.1"
    assert decimals(np.array([1 / 3, 1e300, math.inf])) == [b"0.33333333333333331", b"1e+300", b"Infinity"]


def assert_written_as_each_alone(numbers: NDArray[np.float32]) -> None:
    assert len(numbers) >= MANY
    assert decimals(numbers) == [decimal(value) for value in numbers.tolist()]


@given(arrays.arrays(np.uint32, st.integers(MANY, 2 * MANY)))
def test_any_numbers_are_written_as_each_alone(bits: NDArray[np.uint32]) -> None:
    assert_written_as_each_alone(bits.view(np.float32))


def test_numbers_of_all_sizes_are_written_as_each_alone() -> None:
    draw = np.random.default_rng(1)
    assert_written_as_each_alone(draw.integers(0, 2**32, 10_000, dtype=np.uint32).view(np.float32))
    sizes = 10.0 ** draw.uniform(-16, 8, 10_000) * draw.choice([-1, 1], 10_000)
    assert_written_as_each_alone(sizes.astype(np.float32))


def test_numbers_beside_powers_of_ten_are_written_as_each_alone() -> None:
    nearest = np.array([f"{sign}1e{power}" for sign in "+-" for power in range(-45, 39)], np.float32)
    bits = nearest.view(np.uint32)[:, None] + np.arange(-3, 4, dtype=np.int64)
    assert_written_as_each_alone(bits.astype(np.uint32).ravel().view(np.float32))


def test_numbers_of_few_digits_are_written_as_each_alone() -> None:
    draw = np.random.default_rng(2)
    digits, powers = draw.integers(0, 10**7, 10_000), draw.integers(-20, 3, 10_000)
    texts = [f"{number}e{power}" for number, power in zip(digits.tolist(), powers.tolist(), strict=True)]
    assert_written_as_each_alone(np.array(texts, np.float32))


def test_numbers_halfway_between_two_of_nine_digits_are_written_as_each_alone() -> None:
    draw = np.random.default_rng(3)
    halves = draw.integers(-(2**12), 2**12, 10_000) / 2.0 ** draw.integers(0, 40, 10_000)
    assert_written_as_each_alone(halves.astype(np.float32))


def test_rows_of_several_arrays() -> None:
    draw = np.random.default_rng(4)
    values = [draw.choice([0.5, 1e-5, 2e-7, 3e-20, math.nan], size).astype(np.float32) for size in (40, 6, 60)]
    written = rows([(values[0], 20), (values[1], 1), (values[2], 60)])
    assert [len(lines) for lines in written] == [2, 6, 1]
    for array, lines in zip(values, written, strict=True):
        assert b",".join(lines).split(b",") == [decimal(value) for value in array.tolist()]
