"""stdlib.h: random numbers, those that repeat and those that do not.

``rand`` and ``random`` are glibc's additive feedback generator (random(3), TYPE_3), so that a seed
gives a program the numbers it gets there: each is the sum of those 3 and 31 before it.
"""

from __future__ import annotations

from theseus_kit_tlibc.deferred import Deferred, DeferredBodies

_WORD = 0xFFFF_FFFF
_DEGREE, _SEPARATION, _DISCARDED = 31, 3, 310
_MODULUS, _MULTIPLIER = 2_147_483_647, 16_807
_STEP, _INCREMENT = 1_103_515_245, 12_345
_LCG, _LCG_INCREMENT, _LCG_MASK = 0x5DEECE66D, 0xB, (1 << 48) - 1


class Bodies(DeferredBodies):
    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred)
        self._numbers: list[int] = []
        self._position = 0
        self._lcg = 0x1234_ABCD_330E
        self.srandom(1)

    def srandom(self, seed: int) -> None:
        numbers = [seed & _WORD or 1]
        value = numbers[0] - (1 << 32) if numbers[0] >> 31 else numbers[0]
        for _ in range(_DEGREE - 1):
            # Schrage's method on a signed int: a negative remainder comes back by the modulus.
            high, low = int(value / 127_773), value - int(value / 127_773) * 127_773
            value = _MULTIPLIER * low - 2_836 * high
            value += _MODULUS if value < 0 else 0
            numbers.append(value)
        self._numbers = numbers
        self._position = 0
        for _ in range(_DISCARDED):
            self.random()

    def random(self) -> int:
        numbers, at = self._numbers, self._position
        value = numbers[(at + _SEPARATION) % _DEGREE] + numbers[at] & _WORD
        numbers[(at + _SEPARATION) % _DEGREE] = value
        self._position = (at + 1) % _DEGREE
        return value >> 1

    def rand(self) -> int:
        return self.random()

    def rand_r(self, seedp: int) -> int:
        memory = self.library.memory
        seed, result = memory.read_u32(seedp), 0
        for bits in (11, 10, 10):
            seed = (seed * _STEP + _INCREMENT) & _WORD
            result = result << bits | seed >> 16 & (1 << bits) - 1
        memory.write_u32(seedp, seed)
        return result & 0x7FFF_FFFF

    def srand48(self, seed: int) -> None:
        self._lcg = (seed & _WORD) << 16 | 0x330E

    def drand48(self) -> float:
        return self._next48() / (1 << 48)

    def lrand48(self) -> int:
        return self._next48() >> 17

    def mrand48(self) -> int:
        value = self._next48() >> 16
        return value - (1 << 32) if value >> 31 else value

    def arc4random(self) -> int:
        return int.from_bytes(self.library.services.random_bytes(4), "little")

    def arc4random_buf(self, buf: int, n: int) -> None:
        self.library.memory.write(buf, self.library.services.random_bytes(n))

    def arc4random_uniform(self, bound: int) -> int:
        """Below the bound, each as likely: numbers that would favour some are thrown away."""
        if bound < 2:
            return 0
        limit = (1 << 32) - (1 << 32) % bound
        while (value := self.arc4random()) >= limit:
            pass
        return value % bound

    def _next48(self) -> int:
        self._lcg = (self._lcg * _LCG + _LCG_INCREMENT) & _LCG_MASK
        return self._lcg
