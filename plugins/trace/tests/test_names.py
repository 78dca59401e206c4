"""Names of numbers, held to what this host's Python says they are."""

from __future__ import annotations

import fcntl
import mmap
import os
import platform
import re
import signal
import sys
import time
from collections.abc import Iterable
from types import ModuleType

import pytest

from theseus_kit_trace import names

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="the numbers are those of Linux on x86-64",
)


def constants(module: ModuleType, pattern: str) -> Iterable[tuple[str, int]]:
    for name in dir(module):
        value = getattr(module, name)
        if re.fullmatch(pattern, name) and isinstance(value, int):
            yield name, int(value)


@pytest.mark.parametrize(
    ("module", "pattern", "shown"),
    [
        (mmap, r"PROT_\w+", names.PROT),
        (os, r"O_(?!ACCMODE|LARGEFILE|RSYNC|NDELAY|FSYNC|SYNC|TMPFILE)\w+", names.OPEN),
        (os, r"GRND_\w+", names.GRND),
        (os, r"SEEK_\w+", names.SEEK),
        (os, r"MFD_(CLOEXEC|ALLOW_SEALING)", names.MEMFD),
        (os, r"POSIX_FADV_\w+", names.FADVISE),
        (os, r"EFD_\w+", names.EVENTFD),
        (mmap, r"MADV_\w+", names.MADV),
        (time, r"CLOCK_(?!PROF|HIGHRES|UPTIME)\w+", names.CLOCK),
        (fcntl, r"F_(DUPFD|GETFD|SETFD|GETFL|SETFL|GETLK|SETLK|SETLKW|OFD_\w+)", names.FCNTL),
        (fcntl, r"LOCK_(SH|EX|NB|UN)", names.FLOCK),
        (signal, r"SIG(?!_|RTM|CLD|IOT|POLL|STKSZ)[A-Z0-9]+", names.SIGNAL),
        (signal, r"SIG_(BLOCK|UNBLOCK|SETMASK)", names.SIGNAL_MASK_CHANGE),
    ],
)
def test_a_number_has_the_host_s_name(module: ModuleType, pattern: str, shown: names.Shown) -> None:
    found = dict(constants(module, pattern))
    assert found
    assert {name: shown(value).replace("O_RDONLY|", "") for name, value in found.items()} == {
        name: name for name in found
    }


def test_sysconf_names_are_the_host_s() -> None:
    known = {f"_{name}": number for name, number in os.sysconf_names.items()}
    for number in (0, 4, 30, 60, 69, 70, 83, 84, 85, 86):
        name = names.SYSCONF(number)
        assert known.get(name) == number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "FUTEX_WAIT"),
        (0x80, "FUTEX_WAIT_PRIVATE"),
        (0x81, "FUTEX_WAKE_PRIVATE"),
        (0x189, "FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME"),
        (99, "0x63"),
    ],
)
def test_futex_operations_are_spelt_with_their_flags(value: int, text: str) -> None:
    assert names.futex_operation(value) == text


def test_bits_without_a_name_are_shown_in_hexadecimal() -> None:
    assert names.PROT(0x103) == "PROT_READ|PROT_WRITE|0x100"
    assert names.MAP(0x2F) == "MAP_ANONYMOUS|0xf"
