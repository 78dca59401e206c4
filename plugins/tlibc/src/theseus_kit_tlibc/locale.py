"""locale.h and langinfo.h: two locales, ``C`` (or ``POSIX``) and ``C.UTF-8``.

They differ in the character set alone. A ``locale_t`` points at what compiled code reads directly
(libstdc++'s ctype does), glibc's ``struct __locale_struct``::

    ┌──────────────────────┬─────────────┬───────────────────┬───────────────────┬────────────┐
    │ 13 category pointers │ __ctype_b   │ __ctype_tolower   │ __ctype_toupper   │ 13 names   │
    └──────────────────────┴─────────────┴───────────────────┴───────────────────┴────────────┘
    0                      104           112                 120                 128        232

The category pointers, to data of glibc's own, are null.
"""

from __future__ import annotations

import errno
from functools import cached_property
from struct import pack
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit_tlibc.deferred import Deferred, DeferredBodies

if TYPE_CHECKING:
    from theseus_kit.task import Task

LC_CTYPE, LC_ALL = 0, 6
LC_GLOBAL_LOCALE = (1 << 64) - 1
CATEGORIES = {
    **{0: b"LC_CTYPE", 1: b"LC_NUMERIC", 2: b"LC_TIME", 3: b"LC_COLLATE", 4: b"LC_MONETARY"},
    **{5: b"LC_MESSAGES", 7: b"LC_PAPER", 8: b"LC_NAME", 9: b"LC_ADDRESS", 10: b"LC_TELEPHONE"},
    **{11: b"LC_MEASUREMENT", 12: b"LC_IDENTIFICATION"},
}
"""By number, in the order in which a mixed locale is spelt; LC_ALL is 6."""
_SLOTS = 13
_NAMES = {b"C": b"C", b"POSIX": b"C", b"C.UTF-8": b"C.UTF-8", b"C.utf8": b"C.utf8"}

DAYS = (b"Sunday", b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday")
MONTHS = (
    *(b"January", b"February", b"March", b"April", b"May", b"June", b"July", b"August"),
    *(b"September", b"October", b"November", b"December"),
)
_TIME = (
    *(day[:3] for day in DAYS),
    *DAYS,
    *(month[:3] for month in MONTHS),
    *MONTHS,
    *(b"AM", b"PM", b"%a %b %e %H:%M:%S %Y", b"%m/%d/%y", b"%H:%M:%S", b"%I:%M:%S %p"),
)
_ITEMS = {
    **{0x10000: b".", 0x10001: b"", 0x4000F: b"-", 0x50000: b"^[yY]", 0x50001: b"^[nN]"},
    **{0x20000 + index: text for index, text in enumerate(_TIME)},
}
"""What nl_langinfo tells, by item; the same in both locales."""
CODESET = 14


class Locale:
    """The names of a locale's categories."""

    def __init__(self, names: dict[int, bytes] | None = None) -> None:
        self.names = dict.fromkeys(CATEGORIES, b"C") if names is None else names

    @property
    def is_utf8(self) -> bool:
        return self.names[LC_CTYPE] != b"C"

    @property
    def name(self) -> bytes:
        """One name, or all of them where they differ."""
        if len(set(self.names.values())) == 1:
            return self.names[LC_CTYPE]
        return b";".join(b"%s=%s" % (CATEGORIES[n], name) for n, name in self.names.items())


class Bodies(DeferredBodies):
    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred)
        self._global = Locale()
        self._objects: dict[int, Locale] = {}
        self._of_task: WeakKeyDictionary[Task, int] = WeakKeyDictionary()

    def is_utf8(self, locale: int = 0) -> bool:
        """Whether characters are UTF-8: in a locale, or in the one in effect."""
        return self._locale(locale).is_utf8

    def setlocale(self, category: int, locale: int) -> int:
        """Change or ask the process's locale. A null pointer if there is none of that name."""
        wanted = self._categories(category)
        if locale:
            text = self.library.memory.read_string(locale)
            try:
                chosen = self._chosen(wanted, text)
            except PlatformError:
                return 0
            self._global.names.update(chosen)
        current = self._global
        name = current.name if category == LC_ALL else current.names[category]
        return self.library.constant(name + b"\0")

    def newlocale(self, mask: int, locale: int, base: int) -> int:
        """Raises ENOENT for an unknown name, EINVAL for an unknown category."""
        if mask & ~(sum(1 << number for number in CATEGORIES) | 1 << LC_ALL):
            raise InvalidParameterError(f"newlocale: mask {mask:#x}")
        if mask & 1 << LC_ALL:
            wanted = list(CATEGORIES)
        else:
            wanted = [number for number in CATEGORIES if mask & 1 << number]
        names = dict(self._objects[base].names) if base else Locale().names
        names.update(self._chosen(wanted, self.library.memory.read_string(locale)))
        return self._object(Locale(names), base)

    def duplocale(self, locale: int) -> int:
        return self._object(Locale(dict(self._locale(locale).names)))

    def freelocale(self, locale: int) -> None:
        if self._objects.pop(locale, None) is not None:
            self.library.heap.free(locale)

    def uselocale(self, locale: int) -> int:
        """Set the task's own locale; answer the one before."""
        task = self.library.task
        before = self._of_task.get(task, LC_GLOBAL_LOCALE)
        if locale:
            if locale != LC_GLOBAL_LOCALE and locale not in self._objects:
                raise InvalidParameterError(f"{locale:#x} is no locale")
            self._of_task[task] = locale
        return before

    def localeconv(self) -> int:
        return self._conventions

    @cached_property
    def _conventions(self) -> int:
        """struct lconv: ten texts, one of them the decimal point, and fourteen small numbers."""
        constant = self.library.constant
        empty = constant(b"\0")
        return constant(pack("<10Q", constant(b".\0"), *[empty] * 9) + b"\x7f" * 14 + bytes(2))

    def nl_langinfo(self, item: int) -> int:
        return self.nl_langinfo_l(item, 0)

    def nl_langinfo_l(self, item: int, locale: int) -> int:
        if item == CODESET:
            text = b"UTF-8" if self.is_utf8(locale) else b"ANSI_X3.4-1968"
        else:
            text = _ITEMS.get(item, b"")
        return self.library.constant(text + b"\0")

    def _locale(self, address: int) -> Locale:
        """A locale by its address; 0 is the one in effect."""
        if not address:
            address = self._of_task.get(self.library.task, LC_GLOBAL_LOCALE)
        if address == LC_GLOBAL_LOCALE:
            return self._global
        found = self._objects.get(address)
        if found is None:
            raise InvalidParameterError(f"{address:#x} is no locale")
        return found

    def _categories(self, category: int) -> list[int]:
        if category == LC_ALL:
            return list(CATEGORIES)
        if category not in CATEGORIES:
            raise InvalidParameterError(f"no category {category}")
        return [category]

    def _chosen(self, wanted: list[int], text: bytes) -> dict[int, bytes]:
        """The names that a text gives to categories. Raises ENOENT."""
        if b"=" in text:
            named = dict(part.partition(b"=")[::2] for part in text.split(b";"))
            return {number: _known(named.get(CATEGORIES[number], b"")) for number in wanted}
        return {number: _known(text or self._default(number)) for number in wanted}

    def _default(self, category: int) -> bytes:
        """What an empty name means: the environment's (setlocale(3))."""
        environment = self.library.environment
        for variable in (b"LC_ALL", CATEGORIES[category], b"LANG"):
            value = environment.get(variable)
            if value:
                return value
        return b"C"

    def _object(self, locale: Locale, address: int = 0) -> int:
        address = address or self.library.heap.allocate(8 * (2 * _SLOTS + 3))
        constant = self.library.constant
        names = [constant(locale.names.get(slot, b"C") + b"\0") for slot in range(_SLOTS)]
        self.library.memory.write(
            address, pack("<29Q", *[0] * _SLOTS, *self.deferred.characters().tables, *names)
        )
        self._objects[address] = locale
        return address


def _known(name: bytes) -> bytes:
    found = _NAMES.get(name)
    if found is None:
        raise PlatformError(f"no locale {name.decode(errors='replace')!r}", errno.ENOENT)
    return found
