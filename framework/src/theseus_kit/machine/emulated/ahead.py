"""Blocks of code that the last run needed, translated at this one's start before it needs them.

A machine that is given a file (option ``blocks``) notes there, when it is closed, which blocks of
its largest executable mapping were run. The next one reads it, and begins at once to translate
them: from the same file's bytes, at the place where they lay, which nobody has mapped yet. It is a
guess, and the engine would run what was translated from there whatever lies there in the end. So:

::

    guessing ── anything is mapped over the place ──► vacated: the thread has ended, the place is
                                                      empty, the blocks wait
       vacated ── the very file is mapped there ────► right: blocks like any other
       vacated ── code from elsewhere gets there ───► wrong: the blocks are thrown away

What guest code and the plugins see is the same with the file, without it, and with a wrong one.
"""

from __future__ import annotations

import ctypes
import os
from array import array
from pathlib import Path

from theseus_kit.errors import OutOfMemoryError
from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated.block_profile import (
    MOST_BLOCKS,
    BlockProfile,
    Identity,
    identity_of,
    read_profile,
    write_profile,
)
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.host_code import HostCode
from theseus_kit.machine.emulated.speculation import Speculation
from theseus_kit.machine.emulated.territory import Territory
from theseus_kit.machine.emulated.translation import Translation
from theseus_kit.values.memory import AddressRange, Protection

_SMALLEST = 1 << 20
"""Bytes of code worth the trouble."""
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # whatever has taken the file's name


class Ahead:
    """One machine's file of blocks: what is guessed from it, what is noted for the next time."""

    def __init__(
        self, cpu: Cpu, territory: Territory, translation: Translation, code: HostCode, file: Path
    ) -> None:
        self._cpu = cpu
        self._territory = territory
        self._translation = translation
        self._code = code
        self._file = file
        self._guess: Speculation | None = None
        self._is_right = False
        self._noted: ctypes.Array[ctypes.c_uint64] | None = None
        self._mapping: tuple[AddressRange, BlockProfile] | None = None
        """The largest executable mapping, and its profile, without blocks."""

    def begin(self) -> None:
        """Translate what the file says, or note what is run if it says nothing of use."""
        profile = read_profile(self._file)
        if profile is None or not self._speculate(profile):
            self._note()

    def idle(self) -> None:
        """Go on with a guess: nobody needs the engine for a while."""
        guess = self._guess
        if guess is not None and (self._is_right or guess.holds_bytes):
            guess.begin()

    def before_mapping(self, start: int, end: int) -> None:
        """Whatever is mapped there next must find the place empty."""
        guess = self._guess
        if guess is None or not _overlap(guess, start, end):
            return
        if self._is_right:  # and was: what it said is true no more
            guess.settle()
            self._guess = None
        else:
            guess.vacate()

    def mapped_file(
        self, start: int, end: int, protection: Protection, descriptor: int, offset: int
    ) -> None:
        """A file lies there now, and nothing of it has been run."""
        executable = bool(protection & Protection.EXECUTE)
        is_open = self._guess is not None and not self._is_right
        if not is_open and not (executable and end - start >= _SMALLEST):
            return
        identity = identity_of(descriptor)
        if identity is None:
            return
        guess = self._guess
        if is_open and guess is not None:
            place, profile = guess.range, guess.profile
            if (
                identity == profile.identity
                and start <= place.start
                and place.end <= end
                and offset + place.start - start == profile.offset
            ):
                self._translation.fetched |= guess.pages()
                self._is_right = True
        if executable and (self._mapping is None or self._mapping[0].size < end - start):
            self._remember(AddressRange(start, end), identity, descriptor, offset)

    def before_execution(self, start: int, end: int) -> None:
        """What lies there is about to become executable."""
        guess = self._guess
        if guess is None or self._is_right or not _overlap(guess, start, end):
            return
        self._guess = None
        guess.vacate()
        self._translation.fetched |= guess.pages()
        self._translation.bytes_changed(guess.range.start, guess.range.end)
        self._note()

    def close(self) -> None:
        """End a guess, or keep what was noted."""
        guess, noted, mapping = self._guess, self._noted, self._mapping
        if guess is not None:
            guess.settle()
        if noted is None or mapping is None:
            return
        place, profile = mapping
        found = (address - place.start for address in noted[2 : 2 + noted[0]])
        blocks = array("I", [block for block in found if 0 <= block < place.size])
        if blocks:
            write_profile(self._file, profile._replace(blocks=blocks))

    def _remember(
        self, place: AddressRange, identity: Identity, descriptor: int, offset: int
    ) -> None:
        """Make a mapping the one that blocks are noted of."""
        try:
            path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        except OSError:
            return  # without /proc there is no name to find the file by
        relative = place.start - self._territory.base
        blocks: array[int] = array("I")
        profile = BlockProfile(identity, relative, offset, place.size, path, blocks)
        self._mapping = place, profile

    def _speculate(self, profile: BlockProfile) -> bool:
        """Begin a guess; False if the file is another one by now, or there is no room."""
        start = self._territory.base + profile.place
        guest = self._territory.guest
        if not guest.start <= start <= start + profile.length <= guest.end:
            return False
        try:
            descriptor = os.open(profile.path, _OPEN)
        except OSError:
            return False
        try:
            if identity_of(descriptor) != profile.identity:
                return False
            guess = Speculation(self._cpu, self._territory, self._code, profile, descriptor)
        except OutOfMemoryError:
            return False
        finally:
            os.close(descriptor)
        self._guess = guess
        guess.begin()
        return True

    def _note(self) -> None:
        """Have the engine note each block that it translates from now on."""
        if self._noted is not None:
            return
        noted = self._noted = (ctypes.c_uint64 * (2 + MOST_BLOCKS))(0, MOST_BLOCKS)
        self._cpu.add_hook(
            uc.HOOK_EDGE_GENERATED,
            ctypes.c_void_p(self._code.note),
            user=ctypes.c_void_p(ctypes.addressof(noted)),
        )


def _overlap(guess: Speculation, start: int, end: int) -> bool:
    return start < guess.range.end and guess.range.start < end
