"""Numbers with units, from the command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit import UsageError
from theseus_kit.cli.quantities import check_seconds, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("64MiB", 64 << 20),
        ("64 MiB", 64 << 20),
        ("1.5GiB", 3 << 29),
        ("4KiB", 4096),
        ("1TiB", 1 << 40),
        ("1kB", 1000),
        ("2MB", 2_000_000),
        ("7B", 7),
        ("0.1GB", 100_000_000),
    ],
)
def test_a_size_is_read_with_and_without_a_unit(text: str, size: int) -> None:
    assert parse_size("--size", text) == size


@given(st.integers(0, 1 << 62))
def test_every_number_of_bytes_is_read_as_it_is(size: int) -> None:
    assert parse_size("--size", str(size)) == size


@pytest.mark.parametrize("text", ["", "-1", "+1", "1e3", "0x10", "MiB", "1MiB ", "1_000", "٣"])
def test_what_is_no_size_says_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match="write it as a number of bytes, or with a unit: B, KiB"):
        parse_size("--size", text)


@pytest.mark.parametrize("text", ["1mib", "1K", "1Mb", "1MiBs"])
def test_an_unknown_unit_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=f"no unit is named '{text[1:]}'"):
        parse_size("--size", text)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_a_time_that_cannot_be_waited_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="must be a number of seconds above 0"):
        check_seconds("--timeout", seconds)


@pytest.mark.parametrize("seconds", [None, 0.001, 1.0, 86400.0])
def test_other_times_pass(seconds: float | None) -> None:
    assert check_seconds("--timeout", seconds) == seconds
