"""Which definition each name means, among the objects that are linked together.

As a static linker has it: a strong definition comes before common ones, those before weak ones; of
COMDAT groups with one signature the first is kept. Objects that are loaded already count as linked
before: where one of them defines everything that a group or a weak symbol does, that is used, so
that the inline functions and variables of C++ exist once. Shared objects and plugins are asked
last, by the loader, for what is still undefined.

Source: System V ABI, chapter 4, "Symbol Table" and "Section Groups".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from theseus_kit.errors import ImageError
from theseus_kit.image.elf_header import SHF_ALLOC, SHF_WRITE, SHT_NOBITS, Section
from theseus_kit.image.objects.object_file import InputSection, ObjectFile, ObjectSymbol
from theseus_kit.image.symbols import STB_LOCAL, STB_WEAK, STT_FUNC, STT_GNU_IFUNC, STT_TLS

_GLOBAL = 1
_DEFAULT, _HIDDEN = 0, 2
_STT_SECTION = 3


class Target:
    """What a symbol means in the image being linked. Undefined ones are left to the loader."""

    __slots__ = (
        *("alignment", "binding", "is_absolute", "name", "section", "size", "type", "value"),
        *("origin", "visibility"),
    )

    def __init__(self, symbol: ObjectSymbol, origin: ObjectFile) -> None:
        self.name = symbol.name
        self.type = symbol.type
        self.binding = symbol.binding
        self.visibility = symbol.visibility
        self.section = origin.sections[symbol.section] if symbol.section else None
        self.value = symbol.value
        self.size = symbol.size
        self.is_absolute = symbol.is_absolute
        self.alignment = symbol.value if symbol.is_common else 0
        """Of a common symbol that has no place yet; 0 of all others."""
        self.origin = origin

    @property
    def is_defined(self) -> bool:
        return self.section is not None or self.is_absolute or self.alignment != 0

    @property
    def is_fixed(self) -> bool:
        """It lies in the image: its distance from any place there is known before loading."""
        return self.section is not None and self.section.is_loaded

    @property
    def is_in_file(self) -> bool:
        """It lies in the image or in what tools read of it."""
        return self.section is not None and not self.section.is_discarded

    @property
    def is_lost(self) -> bool:
        """It was defined in a section that another one took the place of."""
        return self.section is not None and self.section.is_discarded

    @property
    def address(self) -> int:
        """In the image being linked; of an absolute symbol, its value."""
        return self.value if self.section is None else self.section.address + self.value

    @property
    def is_thread_local(self) -> bool:
        return self.type == STT_TLS or (self.section is not None and self.section.is_thread_local)

    @property
    def is_resolver(self) -> bool:
        """Its value is a function that returns the address, to be called once."""
        return self.type == STT_GNU_IFUNC

    @property
    def is_exported(self) -> bool:
        return self.binding != STB_LOCAL and self.visibility in (0, 3)

    def take(self, other: Target) -> None:
        """Be what another definition of the name is."""
        for field in ("type", "binding", "section", "value", "size", "is_absolute", "origin"):
            setattr(self, field, getattr(other, field))
        self.alignment = other.alignment

    def forget_definition(self) -> None:
        """Be undefined after all: another image's definition is meant."""
        self.section = None
        self.is_absolute = False
        self.alignment = 0
        self.value = self.size = 0
        self.binding = _GLOBAL

    def __repr__(self) -> str:
        return f"<Target {self.name} in {self.section}>"


class Resolution:
    """The symbols of objects that are linked together.

    ``is_loaded`` tells whether an object that is loaded already defines a name.
    """

    def __init__(self, files: Sequence[ObjectFile], is_loaded: Callable[[str], bool]) -> None:
        self._is_loaded = is_loaded
        self.globals: dict[str, Target] = {}
        self.symbols: dict[ObjectFile, list[Target]] = {}
        """By object, what each of its symbols means, by number."""
        for file in files:
            self._choose_groups(file, files)
        for file in files:
            self.symbols[file] = [self._target(file, symbol) for symbol in file.symbols]
        for target in self.globals.values():
            if target.is_lost or (target.binding == STB_WEAK and self._yields(target)):
                target.forget_definition()
        self.common = self._place_common(files[0])

    def of(self, section: InputSection, symbol: int) -> Target:
        """What a symbol of a section's file means."""
        return self.symbols[section.file][symbol]

    def define(self, name: str, section: InputSection, value: int) -> bool:
        """Define a name that no object defines, if one refers to it; tell whether it was."""
        target = self.globals.get(name)
        if target is None or target.is_defined:
            return False
        target.section, target.value, target.visibility = section, value, _HIDDEN
        return True

    def refer_weakly(self, name: str, file: ObjectFile) -> Target:
        """What a function's name means, of which a reference is added: 0 if nothing defines it."""
        symbol = ObjectSymbol(0, name, STT_FUNC, STB_WEAK, _DEFAULT, 0, 0, 0)
        return self.globals.setdefault(name, Target(symbol, file))

    def settle_hidden(self) -> None:
        """Refuse hidden names that no object defines, for no other image may; weak ones are 0."""
        for target in self.globals.values():
            if target.is_defined or target.visibility == _DEFAULT:
                continue
            if target.binding != STB_WEAK:
                _fail(
                    target.origin,
                    f"needs the hidden symbol {target.name}; link it together with the object "
                    "that defines it",
                )
            target.is_absolute = True

    def _choose_groups(self, file: ObjectFile, files: Sequence[ObjectFile]) -> None:
        earlier = {group.signature for f in files[: files.index(file)] for group in f.groups}
        for group in file.groups:
            names = [
                symbol.name
                for symbol in file.symbols
                if symbol.section
                and symbol.binding != STB_LOCAL
                and file.sections[symbol.section] in group.members
            ]
            loaded = bool(names) and all(self._is_loaded(name) for name in names)
            if loaded or group.signature in earlier:
                for section in group.members:
                    section.is_discarded = True

    def _yields(self, target: Target) -> bool:
        return target.is_exported and target.is_defined and self._is_loaded(target.name)

    def _target(self, file: ObjectFile, symbol: ObjectSymbol) -> Target:
        target = Target(symbol, file)
        if symbol.binding == STB_LOCAL or symbol.type == _STT_SECTION:
            return target
        known = self.globals.setdefault(symbol.name, target)
        if known is target:
            return target
        # The narrowest visibility of all counts; internal (1) is the narrowest, default (0) none.
        visibilities = [v for v in (known.visibility, target.visibility) if v]
        known.visibility = min(visibilities, default=0)
        if symbol.type == STT_TLS and not known.is_defined:
            known.type = STT_TLS
        if self._comes_before(target, known):
            known.take(target)
        elif not known.is_defined and target.binding != STB_WEAK:
            known.binding = target.binding
        return known

    def _comes_before(self, new: Target, known: Target) -> bool:
        if not new.is_defined or new.is_lost:
            return False
        if not known.is_defined or known.is_lost:
            return True
        if new.alignment and known.alignment:
            known.size = max(known.size, new.size)
            known.alignment = max(known.alignment, new.alignment)
            return False
        ranks = [_rank(new), _rank(known)]
        if ranks == [_STRONG, _STRONG]:
            _fail(new.origin, f"defines {new.name}, which {known.origin.path.name} defines too")
        return ranks[0] > ranks[1]

    def _place_common(self, file: ObjectFile) -> InputSection | None:
        """Give common symbols a place: a section of zeros of their own."""
        common = [target for target in self.globals.values() if target.alignment]
        if not common:
            return None
        size, alignment = 0, max(target.alignment for target in common)
        header = Section("COMMON", SHT_NOBITS, SHF_ALLOC | SHF_WRITE, 0, 0, 0, 0, 0, alignment, 0)
        section = InputSection(file, 0, header)
        for target in common:
            target.value = -(-size // target.alignment) * target.alignment
            target.section = section
            target.alignment = 0
            size = target.value + target.size
        section.header = header._replace(size=size)
        return section


_STRONG = 3


def _rank(target: Target) -> int:
    if target.alignment:
        return 2
    return 1 if target.binding == STB_WEAK else _STRONG


def _fail(file: ObjectFile, problem: str) -> NoReturn:
    raise ImageError(f"{file.path}: {problem}")
