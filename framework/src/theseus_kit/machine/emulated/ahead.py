"""Blocks of code that the last run needed, translated at this one's start before it needs them.

A machine that is given a file (option ``blocks``) notes there, when it is closed, which blocks of
its largest executable mapping were run, beside those that were there before. The next one reads it,
and begins at once to translate them: from the same file's bytes, at the place where they lay, which
nobody has mapped yet. It is a guess, and the engine would run what was translated from there
whatever lies there in the end. So:

::

    guessing ── anything is mapped over the place ──► vacated: the thread has ended, the place is
                                                      empty, the blocks wait
       vacated ── the very file is mapped there ────► right: blocks like any other
       vacated ── code from elsewhere gets there ───► wrong: the blocks are thrown away

What guest code and the plugins see is the same with the file, without it, and with a wrong one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from theseus_kit.errors import OutOfMemoryError
from theseus_kit.machine.emulated.block_notes import BlockNotes
from theseus_kit.machine.emulated.block_profile import (
    BlockProfile,
    identity_of,
    read_profile,
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
        self,
        cpu: Cpu,
        territory: Territory,
        translation: Translation,
        code: HostCode,
        file: Path,
        is_idle: Callable[[], bool],
    ) -> None:
        """``is_idle`` says whether no guest code is in progress."""
        self._cpu = cpu
        self._territory = territory
        self._translation = translation
        self._code = code
        self._file = file
        self._is_idle = is_idle
        self._guess: Speculation | None = None
        self._right: BlockProfile | None = None
        """What was guessed, once it has turned out right."""
        self._notes = BlockNotes(cpu, code)

    def begin(self) -> None:
        """Translate what the file says, and note what is run beside that."""
        profile = read_profile(self._file)
        if profile is not None:
            self._speculate(profile)

    def idle(self) -> None:
        """Go on with a guess: nobody needs the engine for a while."""
        guess = self._guess
        if guess is not None and (self._right or guess.holds_bytes) and self._is_idle():
            guess.begin()

    def before_mapping(self, start: int, end: int) -> None:
        """Whatever is mapped there next must find the place empty."""
        guess = self._guess
        if guess is None or not _overlap(guess, start, end):
            return
        if self._right:  # and was: what it said is true no more
            guess.settle()
            self._guess = None
        else:
            guess.vacate()

    def mapped_file(
        self, start: int, end: int, protection: Protection, descriptor: int, offset: int
    ) -> None:
        """A file lies there now, and nothing of it has been run."""
        executable = bool(protection & Protection.EXECUTE)
        guess = None if self._right else self._guess
        if guess is None and not (executable and end - start >= _SMALLEST):
            return
        identity = identity_of(descriptor)
        if identity is None:
            return
        if guess is not None:
            place, profile = guess.range, guess.profile
            if (
                identity == profile.identity
                and start <= place.start
                and place.end <= end
                and offset + place.start - start == profile.offset
            ):
                self._translation.fetched |= guess.pages()
                self._right = profile
        if executable:
            place = AddressRange(start, end)
            self._notes.mapped(place, self._territory.base, identity, descriptor, offset)

    def before_execution(self, start: int, end: int) -> None:
        """What lies there is about to become executable."""
        guess = self._guess
        if guess is None or self._right or not _overlap(guess, start, end):
            return
        self._guess = None
        guess.vacate()
        self._translation.fetched |= guess.pages()
        self._translation.bytes_changed(guess.range.start, guess.range.end)

    def close(self) -> None:
        """End a guess, and keep what was noted."""
        if self._guess is not None:
            self._guess.settle()
        self._notes.keep(self._file, self._right)

    def _speculate(self, profile: BlockProfile) -> None:
        """Begin a guess, unless the file is another one by now, or there is no room."""
        start = self._territory.base + profile.place
        guest = self._territory.guest
        if not guest.start <= start <= start + profile.length <= guest.end:
            return
        try:
            descriptor = os.open(profile.path, _OPEN)
        except OSError:
            return
        try:
            if identity_of(descriptor) != profile.identity:
                return
            guess = Speculation(self._cpu, self._territory, self._code, profile, descriptor)
        except OutOfMemoryError:
            return
        finally:
            os.close(descriptor)
        self._guess = guess
        guess.begin()


def _overlap(guess: Speculation, start: int, end: int) -> bool:
    return start < guess.range.end and guess.range.start < end
