"""Page arithmetic at the values region-rs's own tests use, and at the edge of 64 bits."""

import pytest

from theseus_kit.errors import InvalidParameterError
from theseus_kit_region import page

SIZE = page.size()
LAST = (1 << 64) - 1


@pytest.mark.parametrize(
    ("given", "rounded"),
    [
        ((1, SIZE), (0, SIZE * 2)),
        ((0, SIZE - 1), (0, SIZE)),
        ((0, SIZE + 1), (0, SIZE * 2)),
        ((SIZE - 1, 1), (0, SIZE)),
        ((SIZE + 1, SIZE), (SIZE, SIZE * 2)),
        ((SIZE, SIZE), (SIZE, SIZE)),
        ((LAST, 1), (LAST - SIZE + 1, SIZE)),
        ((0, LAST), (0, LAST - SIZE + 1)),
    ],
)
def test_ranges_are_widened_to_the_pages_they_touch(
    given: tuple[int, int], rounded: tuple[int, int]
) -> None:
    assert page.round_to_page_boundaries(*given) == rounded


def test_addresses_round_down_and_up_to_page_boundaries() -> None:
    assert (page.floor(1), page.floor(SIZE), page.floor(SIZE + 1)) == (0, SIZE, SIZE)
    assert (page.ceil(1), page.ceil(SIZE), page.ceil(SIZE + 1)) == (SIZE, SIZE, 2 * SIZE)


def test_rounding_up_in_the_last_page_stays_in_the_address_space() -> None:
    assert page.ceil(LAST) == LAST - SIZE + 1


@pytest.mark.parametrize(("address", "size"), [(SIZE, 0), (0, -1), (-1, 1), (0, 1 << 65)])
def test_what_is_no_range_of_unsigned_64_bit_numbers_is_refused(address: int, size: int) -> None:
    with pytest.raises(InvalidParameterError):
        page.round_to_page_boundaries(address, size)
    with pytest.raises(InvalidParameterError):
        page.page_range(address, size)


def test_a_range_may_end_with_the_address_space_but_not_beyond() -> None:
    assert page.page_range(LAST, 1) == (LAST - SIZE + 1, 1 << 64)
    with pytest.raises(InvalidParameterError, match="runs past the end"):
        page.page_range(LAST, 2)
