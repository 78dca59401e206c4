"""An address for every section of the image being linked, by protection.

Addresses start at 0, and the file has its bytes in the same order::

    r--  ELF header, program headers │ read-only sections
    r-x  code │ .plt
    rw-  .tdata │ .init_array │ .fini_array │ .data.rel.ro │ .dynamic │ .got ┆ data │ zeros
         └───────────────── read-only once relocated (RELRO) ─────────────┘
    r--  .eh_frame │ its search table │ dynamic symbols, hash table, relocations

Each line starts on a page of its own. .tbss takes no addresses: every task has its own. The last
line is written last, for only then is it known how many relocations are left to the loader.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from theseus_kit.errors import ImageError
from theseus_kit.image.objects.object_file import InputSection
from theseus_kit.values.memory import PAGE_SIZE, AddressRange, Protection, page_ceil
from theseus_kit.values.record import NamedTuple

HEADERS_SIZE = 0x400
"""Room for the ELF header and the program headers."""
LARGEST_IMAGE = 1 << 30
_INIT_ARRAY, _FINI_ARRAY = ".init_array", ".fini_array"
_DEFAULT_PRIORITY = 65536


class OutputSegment(NamedTuple):
    """A program header of type PT_LOAD."""

    protection: Protection
    address: int
    offset: int
    file_size: int
    memory_size: int
    alignment: int


class Layout:
    """Gives sections their addresses. ``sections`` are those that are loaded, in input order."""

    def __init__(
        self,
        sections: Iterable[InputSection],
        got: InputSection,
        plt: InputSection,
        dynamic: InputSection,
    ) -> None:
        sections = _together_by_name(s for s in sections if not is_frame_table(s))
        self.segments: list[OutputSegment] = []
        self._address = self._offset = HEADERS_SIZE
        self._start = self._start_offset = 0
        self._file_end = HEADERS_SIZE
        self._alignment = PAGE_SIZE

        plain = [s for s in sections if not (s.is_writable or s.is_code)]
        self._place(plain)
        self._end_segment(Protection.READ)

        self._place([s for s in sections if s.is_code])
        self._place([plt])
        self._end_segment(Protection.READ_EXECUTE)

        writable = [s for s in sections if s.is_writable]
        relro_start = self._address
        self.thread_local = self._place_thread_local(
            [s for s in writable if s.is_thread_local], relro_start
        )
        rest = [s for s in writable if not s.is_thread_local]
        self.constructors = self._place_functions(rest, _INIT_ARRAY)
        self.finalisers = self._place_functions(rest, _FINI_ARRAY)
        self._place([s for s in rest if is_read_only_once_relocated(s)])
        self._place([dynamic, got])
        self._to_page()
        self.relro = AddressRange(relro_start, self._address)
        data = [s for s in rest if not is_read_only_once_relocated(s) and not _is_functions(s)]
        self._place([s for s in data if not s.is_zero])
        self._place([s for s in data if s.is_zero])
        self._end_segment(Protection.READ_WRITE)

        self.tables_address, self.tables_offset = self._address, self._offset
        if self._address > LARGEST_IMAGE:
            raise ImageError(
                f"{got.file.path}: needs {self._address:#x} bytes; too large to be linked"
            )

    def offset_of(self, address: int) -> int:
        """Where the file has the byte of an address."""
        for segment in self.segments:
            if segment.address <= address < segment.address + segment.memory_size:
                return segment.offset + address - segment.address
        return max(0, self.tables_offset + address - self.tables_address)

    def add_tables(self, size: int) -> None:
        """Put the last segment, of so many bytes, where :attr:`tables_address` says."""
        self._address += size
        self._file_end = self._address
        self._end_segment(Protection.READ)

    def _place(self, sections: Iterable[InputSection]) -> None:
        for section in sections:
            self._alignment = max(self._alignment, section.alignment)
            self._address = -(-self._address // section.alignment) * section.alignment
            section.address = self._address
            self._address += section.size
            if not section.is_zero and section.size:
                self._file_end = self._address

    def _place_thread_local(
        self, sections: Sequence[InputSection], start: int
    ) -> tuple[int, int, int, int] | None:
        """Place .tdata and .tbss; return address, bytes in the file, bytes, alignment."""
        if not sections:
            return None
        alignment = max(section.alignment for section in sections)
        self._alignment = max(self._alignment, alignment)
        start = self._address = -(-start // alignment) * alignment
        self._place([s for s in sections if not s.is_zero])
        data_end = self._address
        file_end = self._file_end
        self._place([s for s in sections if s.is_zero])
        size = self._address - start
        self._address, self._file_end = data_end, file_end
        return start, data_end - start, size, alignment

    def _place_functions(self, sections: Iterable[InputSection], name: str) -> AddressRange:
        """Place an array of functions: by the priority in the section's name, those without last.

        ``.init_array.00101`` comes before ``.init_array.65000``, and both before ``.init_array``.
        """
        functions = [s for s in sections if s.name == name or s.name.startswith(name + ".")]
        self._address = -(-self._address // 8) * 8
        start = self._address
        self._place(sorted(functions, key=lambda section: _priority(section, name)))
        return AddressRange(start, self._address)

    def _to_page(self) -> None:
        self._address = page_ceil(self._address)

    def _end_segment(self, protection: Protection) -> None:
        file_size = max(0, self._file_end - self._start)
        if protection == Protection.READ_WRITE:
            # RELRO is rounded up to a page: the file has to have the bytes up to there.
            file_size = max(file_size, self.relro.end - self._start)
        memory_size = max(self._address - self._start, file_size)
        if memory_size:
            self.segments.append(
                OutputSegment(
                    protection,
                    self._start,
                    self._start_offset,
                    file_size,
                    memory_size,
                    self._alignment,
                )
            )
        self._start_offset = page_ceil(self._start_offset + file_size)
        self._start = self._address = page_ceil(self._start + memory_size)
        self._offset = self._start_offset
        self._file_end = self._start


def is_frame_table(section: InputSection) -> bool:
    """Whether a section is .eh_frame; those of all objects become one."""
    return section.name == ".eh_frame"


def is_read_only_once_relocated(section: InputSection) -> bool:
    """Whether a writable section is constant but for its relocations."""
    return section.name.startswith(".data.rel.ro")


def _is_functions(section: InputSection) -> bool:
    return any(
        section.name == name or section.name.startswith(name + ".")
        for name in (_INIT_ARRAY, _FINI_ARRAY)
    )


def _priority(section: InputSection, name: str) -> int:
    suffix = section.name[len(name) + 1 :]
    return int(suffix) if suffix.isascii() and suffix.isdecimal() else _DEFAULT_PRIORITY


def _together_by_name(sections: Iterable[InputSection]) -> list[InputSection]:
    """Sections of one name side by side, in input order: what __start_NAME and __stop_NAME need."""
    by_name: dict[str, list[InputSection]] = {}
    for section in sections:
        by_name.setdefault(section.name, []).append(section)
    return [section for together in by_name.values() for section in together]
