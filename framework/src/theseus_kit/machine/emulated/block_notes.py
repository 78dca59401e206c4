"""What a run's blocks were: noted by the engine as it translates them, kept when it is over."""

from __future__ import annotations

import ctypes
from pathlib import Path

from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated.block_profile import (
    MOST_BLOCKS,
    BlockProfile,
    Identity,
    write_profile,
)
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.host_code import HostCode
from theseus_kit.values.memory import AddressRange

_MOST_OF_A_RUN = MOST_BLOCKS // 2
"""The start of a long run is worth preparing, and leaves room for what other programs need."""
_FEW = 32
"""No two runs are quite alike (Rust seeds its hash tables): a new block in 32 is no news."""


class BlockNotes:
    """Notes blocks from now on. They are those of the largest executable mapping of a file."""

    def __init__(self, cpu: Cpu, code: HostCode) -> None:
        self._noted = (ctypes.c_uint64 * (2 + _MOST_OF_A_RUN))(0, _MOST_OF_A_RUN)
        self._place = AddressRange(0, 0)
        self._profile: BlockProfile | None = None
        """That mapping's profile, without blocks."""
        cpu.add_hook(
            uc.HOOK_EDGE_GENERATED,
            ctypes.c_void_p(code.note),
            user=ctypes.c_void_p(ctypes.addressof(self._noted)),
        )

    def mapped(
        self, place: AddressRange, base: int, identity: Identity, descriptor: int, offset: int
    ) -> None:
        """A file was mapped executable; ``base`` is where the machine's territory starts."""
        if place.size <= self._place.size:
            return
        try:
            path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        except OSError:
            return  # without /proc there is no name to find the file by
        self._place = place
        self._profile = BlockProfile(identity, place.start - base, offset, place.size, path, ())

    def keep(self, file: Path, known: BlockProfile | None) -> bool:
        """Write a profile, or add to the one that was ``known`` before; say whether it was done.

        Not where there is nothing to add, or a larger library beside the one that was known.
        """
        profile, place = self._profile, self._place
        if profile is None:
            return False
        before = () if known is None else known.blocks
        if known is not None and known._replace(blocks=profile.blocks) != profile:
            return False
        run = (address - place.start for address in self._noted[2 : 2 + self._noted[0]])
        blocks = dict.fromkeys(before)
        blocks.update(dict.fromkeys(block for block in run if 0 <= block < place.size))
        added = tuple(blocks)[len(before) : MOST_BLOCKS]
        if len(added) * _FEW <= len(before):
            return False
        return write_profile(file, profile._replace(blocks=before + added))
