"""Which value each address has: a map from intervals of addresses to small integers.

The machine keeps the guest's protections in one and the host's backing in another. A reservation
of any size is one entry; neighbours with equal values are one entry.

::

    starts   0           0x1000        0x5000     0x9000
    values   UNMAPPED    READ_WRITE    NONE       UNMAPPED
             [0,0x1000)  [0x1000,…)    [0x5000,…) [0x9000, end of the address space)

A look-up is one bisection; a change costs a bisection and a move of the lists' tails, which is
memmove (up to 70 µs among 200,000 entries), never a loop in Python over entries it does not touch.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class IntervalMap:
    """A total map from addresses (any int of at least 0) to ints."""

    __slots__ = ("starts", "values")

    def __init__(self, value: int) -> None:
        self.starts = [0]
        self.values = [value]

    def __len__(self) -> int:
        return len(self.starts)

    def get(self, address: int) -> int:
        return self.values[bisect_right(self.starts, address) - 1]

    def set(self, start: int, end: int, value: int) -> None:
        """Give every address of [start, end) a value."""
        starts, values = self.starts, self.values
        low = bisect_left(starts, start)
        high = bisect_right(starts, end, low)
        after = values[high - 1]
        new_starts = []
        new_values = []
        if low == 0 or values[low - 1] != value:
            new_starts.append(start)
            new_values.append(value)
        if after != value:
            new_starts.append(end)
            new_values.append(after)
        starts[low:high] = new_starts
        values[low:high] = new_values

    def runs(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (start, end, value) for the intervals of [start, end), cut to it, in order."""
        starts, values = self.starts, self.values
        index = bisect_right(starts, start) - 1
        while start < end:
            following = starts[index + 1] if index + 1 < len(starts) else end
            stop = min(following, end)
            yield start, stop, values[index]
            start = stop
            index += 1

    def uniform(self, start: int, end: int) -> int | None:
        """The value of [start, end) if it is one, else None."""
        starts = self.starts
        index = bisect_right(starts, start)
        if index < len(starts) and starts[index] < end:
            return None
        return self.values[index - 1]
