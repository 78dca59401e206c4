"""The notes of a core file: what a debugger is told beside the memory.

Each note is ``name size, size, type, name, content``, the last two padded to 4 bytes. The contents
are the kernel's structures for x86-64::

    NT_PRSTATUS  336 bytes, one for each task: signal, ids, times, 27 registers
    NT_PRPSINFO  136 bytes: state, ids, the program's name and arguments
    NT_SIGINFO   128 bytes: siginfo_t of the signal that ended it
    NT_AUXV      pairs of words: where the program's headers and its entry are
    NT_FILE      which file's pages lie where: count, page size, (start, end, page) …, names

Sources: include/uapi/linux/elf.h, include/linux/elfcore.h, fs/binfmt_elf.c (fill_files_note) and
arch/x86/include/asm/user_64.h of Linux 6. What goes into them is ``core_file.py``'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct

from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import PAGE_SIZE, AddressRange
from theseus_kit.values.record import NamedTuple

NT_PRSTATUS = 1
NT_PRPSINFO = 3
NT_AUXV = 6
NT_SIGINFO = 0x53494749
NT_FILE = 0x46494C45

AT_NULL, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_ENTRY = 0, 3, 4, 5, 6, 9

_HEADER = Struct("<III")
# siginfo: signo, code, errno; cursig; pending and held signals; pid, ppid, pgrp, sid; four times
_STATUS = Struct("<iiihxxQQiiii64x27Qi4x")
_PROCESS = Struct("<BcBb4xQIIiiii16s80s")
_SIGINFO = Struct("<iii4xQ104x")
_FILE_RANGE = Struct("<QQQ")
_WORDS = Struct("<QQ")

# user_regs_struct, in order; what is no field of Registers has its value here.
_USER_REGISTERS = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8"),
    *("rax", "rcx", "rdx", "rsi", "rdi", "orig_rax", "rip", "cs", "rflags", "rsp", "ss"),
    *("fs_base", "gs_base", "ds", "es", "fs", "gs"),
)
_NO_SYSTEM_CALL = (1 << 64) - 1
_FIXED = {
    "orig_rax": _NO_SYSTEM_CALL,
    "cs": 0x33,
    "ss": 0x2B,
    **dict.fromkeys(("gs_base", "ds", "es", "fs", "gs"), 0),
}


class MappedFile(NamedTuple):
    """A run of pages that came from a file."""

    range: AddressRange
    offset: int
    """Bytes into the file, a multiple of the page size."""
    path: str


def note(kind: int, content: bytes, name: bytes = b"CORE") -> bytes:
    """Wrap a note's content: note(NT_AUXV, 16 bytes) is 36 bytes."""
    padded = (name + b"\0").ljust(8, b"\0")
    return _HEADER.pack(len(name) + 1, len(content), kind) + padded + _pad(content)


def _pad(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


def task_status(number: int, registers: Registers, fs_base: int, signal: int) -> bytes:
    """NT_PRSTATUS of one task; ``signal`` is what ended it, 0 for the tasks it took along."""
    values = [
        fs_base
        if name == "fs_base"
        else _FIXED[name]
        if name in _FIXED
        else getattr(registers, name)
        for name in _USER_REGISTERS
    ]
    return note(NT_PRSTATUS, _STATUS.pack(signal, 0, 0, signal, 0, 0, number, 0, 0, 0, *values, 0))


def process_information(number: int, name: str, arguments: str) -> bytes:
    """NT_PRPSINFO; texts that are too long are cut, as the kernel does."""
    name_bytes, argument_bytes = name.encode()[:15], arguments.encode()[:79]
    return note(
        NT_PRPSINFO,
        _PROCESS.pack(0, b"R", 0, 0, 0, 0, 0, number, 0, 0, 0, name_bytes, argument_bytes),
    )


def signal_information(signal: int, code: int, address: int) -> bytes:
    """NT_SIGINFO of a fault: si_signo, si_code and si_addr."""
    return note(NT_SIGINFO, _SIGINFO.pack(signal, 0, code, address))


def auxiliary_vector(entries: Iterable[tuple[int, int]]) -> bytes:
    """NT_AUXV; the terminating entry is added."""
    return note(NT_AUXV, b"".join(_WORDS.pack(*entry) for entry in (*entries, (AT_NULL, 0))))


def mapped_files(files: Sequence[MappedFile]) -> bytes:
    """NT_FILE."""
    ranges = b"".join(_FILE_RANGE.pack(*file.range, file.offset // PAGE_SIZE) for file in files)
    names = b"".join(file.path.encode("utf-8", "surrogateescape") + b"\0" for file in files)
    return note(NT_FILE, _WORDS.pack(len(files), PAGE_SIZE) + ranges + names)


def read_notes(data: bytes) -> list[tuple[int, bytes]]:
    """Split a PT_NOTE segment into (type, content); what is cut off at its end is left out."""
    found = []
    position = 0
    while position + _HEADER.size <= len(data):
        name_size, size, kind = _HEADER.unpack_from(data, position)
        start = position + _HEADER.size + (name_size + 3 & -4)
        if start + size > len(data):
            break
        found.append((kind, data[start : start + size]))
        position = start + (size + 3 & -4)
    return found


def read_mapped_files(content: bytes) -> list[MappedFile]:
    """Read NT_FILE. Raises ValueError where it contradicts itself."""
    if len(content) < _WORDS.size:
        raise ValueError("NT_FILE is cut off")
    count, page_size = _WORDS.unpack_from(content)
    end = _WORDS.size + count * _FILE_RANGE.size
    if end > len(content):
        raise ValueError(f"NT_FILE says {count} files and has room for fewer")
    names = content[end:].split(b"\0")[:count]
    if len(names) < count:
        raise ValueError(f"NT_FILE says {count} files and names {len(names)}")
    return [
        MappedFile(
            AddressRange(start, stop), page * page_size, name.decode("utf-8", "surrogateescape")
        )
        for (start, stop, page), name in zip(
            _FILE_RANGE.iter_unpack(content[_WORDS.size : end]), names, strict=True
        )
    ]
