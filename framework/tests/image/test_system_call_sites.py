"""Every ``syscall`` instruction of a file is found, with its number where the text tells it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from struct import pack, unpack_from

import pytest

from theseus_kit import ImageError
from theseus_kit.image import find_system_call_sites
from theseus_kit.image.elf import ElfFile
from theseus_kit.image.functions import Functions
from theseus_kit.image.register_values import RegisterValues
from theseus_kit.image.system_call_names import system_call_names

from .test_symbols import wasmtime_library
from .tiny_image import CODE, TinyImage

Compile = Callable[..., Path]


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Compiles assembly or C to a shared object, with GCC."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not on this machine")

    def compile_source(source: str, *flags: str, suffix: str = ".s") -> Path:
        (tmp_path / f"source{suffix}").write_text(source)
        output = tmp_path / "compiled.so"
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-nostdlib", *flags, "-o", output]
            + [tmp_path / f"source{suffix}"],
            check=True,
        )
        return output

    return compile_source


def numbers(path: Path) -> list[int | None]:
    with ElfFile.open(path) as elf:
        return [site.number for site in find_system_call_sites(elf)]


SHAPES = {
    "mov eax, 9; syscall; ret": 9,
    "mov rax, 9; syscall; ret": 9,
    "xor eax, eax; syscall; ret": 0,
    "push 60; pop rax; syscall; ret": 60,
    "mov r12d, 11; call other; mov eax, r12d; syscall; ret": 11,
    "mov ecx, 11; call other; mov eax, ecx; syscall; ret": None,
    "mov ecx, 11; syscall; mov eax, ecx; syscall; ret": None,
    "mov eax, 1; cmp edi, 3; je 1f; mov esi, 2; 1: syscall; ret": 1,
    "mov eax, 1; test edi, edi; je 1f; mov eax, 2; 1: syscall; ret": None,
    "mov eax, 5; test edi, edi; je 1f; mov eax, 5; 1: syscall; ret": 5,
    "jmp 2f; 1: syscall; ret; 2: mov eax, 7; jmp 1b": 7,
    "mov eax, 3; 1: syscall; mov eax, 3; dec edi; jne 1b; ret": 3,
    "mov eax, 3; 1: syscall; dec edi; jne 1b; ret": None,
    "mov eax, edi; syscall; ret": None,
    "mov eax, dword ptr [rdi]; syscall; ret": None,
    "mov eax, 8; mov al, 3; syscall; ret": None,
    "mov eax, 8; lock cmpxchg [rdi], ecx; syscall; ret": None,
    "mov eax, 8; xchg eax, ecx; syscall; ret": None,
    "mov eax, 8; add eax, 1; syscall; ret": None,
    "mov eax, 8; mov [rdi], eax; cmp eax, 3; push rax; syscall; ret": 8,
    "mov eax, 8; mul ecx; syscall; ret": None,
    "mov edx, 8; cdq; mov eax, edx; syscall; ret": None,
    "syscall; ret": None,
}


@pytest.mark.parametrize("source", SHAPES)
def test_a_number_is_told_where_every_path_agrees(source: str, compiled: Compile) -> None:
    lines = "\n".join(part.strip() for part in source.split(";"))
    path = compiled(
        ".intel_syntax noprefix\n.text\n.globl f, other\n.type f, @function\n"
        f"f:\n.cfi_startproc\n{lines}\n.cfi_endproc\n.size f, .-f\nother: ret\n"
    )
    assert numbers(path)[-1] == SHAPES[source]


def test_padding_behind_a_jump_is_no_way_in(compiled: Compile) -> None:
    path = compiled(
        ".intel_syntax noprefix\n.globl f\nf:\n.cfi_startproc\nmov edx, 60\njmp 2f\n"
        ".p2align 4\n1: mov eax, edx\nsyscall\n2: dec edi\njne 1b\nret\n.cfi_endproc\n"
    )
    assert numbers(path) == [60]


def test_two_bytes_of_another_instruction_are_no_site(compiled: Compile) -> None:
    # mov eax, 0x050f: b8 0f 05 00 00
    path = compiled(
        ".intel_syntax noprefix\n.globl f\nf:\n.cfi_startproc\nmov eax, 0x050f\nret\n.cfi_endproc\n"
    )
    assert b"\x0f\x05" in path.read_bytes()
    assert numbers(path) == []


def test_data_among_code_is_no_site(compiled: Compile) -> None:
    path = compiled(
        ".intel_syntax noprefix\n.globl f\nf:\n.cfi_startproc\nmov eax, 39\nsyscall\nret\n"
        '.cfi_endproc\n.section .rodata,"ax",@progbits\n.byte 0x0f, 0x05\n'
    )
    assert len(numbers(path)) >= 1
    path = compiled(
        ".intel_syntax noprefix\n.globl f\nf:\n.cfi_startproc\nmov eax, 39\nsyscall\nret\n"
        ".cfi_endproc\n.section .rodata\n.byte 0x0f, 0x05\n",
        "-Wl,-z,noseparate-code",
    )
    assert numbers(path) == [39]


def test_code_without_frame_information_is_searched_too(compiled: Compile) -> None:
    path = compiled(
        ".intel_syntax noprefix\n.globl f, g, h\nf:\n.cfi_startproc\nret\n.cfi_endproc\n"
        "g: mov eax, 24\nsyscall\nret\nh:\n.cfi_startproc\nnop\nret\n.cfi_endproc\n"
    )
    assert numbers(path) == [24]


def test_a_site_knows_its_function_address_and_file_offset(compiled: Compile) -> None:
    path = compiled(
        'long f(long n) { long r; __asm__ volatile("syscall" : "=a"(r) : "a"(102) '
        ': "rcx", "r11", "memory"); return r + n; }',
        "-O1",
        suffix=".c",
    )
    with ElfFile.open(path) as elf:
        (site,) = find_system_call_sites(elf)
        assert elf.contents[site.file_offset : site.file_offset + 2] == b"\x0f\x05"
        assert Functions(elf).containing(site.address) is not None
    assert (site.number, site.function) == (102, "f")


def test_stripping_a_file_takes_the_names_only(compiled: Compile, tmp_path: Path) -> None:
    path = compiled(
        ".intel_syntax noprefix\nf:\n.cfi_startproc\nmov eax, 39\nsyscall\nret\n.cfi_endproc\n"
    )
    subprocess.run(["strip", path], check=True)
    with ElfFile.open(path) as elf:
        (site,) = find_system_call_sites(elf)
    assert (site.number, site.function) == (39, None)


def test_a_file_without_sections_and_frames_is_searched_whole(tmp_path: Path) -> None:
    code = bytes.fromhex("b8 27 00 00 00 0f 05 c3")  # mov eax, 39; syscall; ret
    path = TinyImage(code=code).write(tmp_path / "tiny.so")
    with ElfFile.open(path) as elf:
        (site,) = find_system_call_sites(elf)
    assert (site.address, site.number) == (CODE + 5, 39)


def test_all_241_sites_of_libwasmtime_50_are_found_with_their_numbers() -> None:
    if version("wasmtime") != "50.0.1":
        pytest.skip("another wasmtime is installed")
    with ElfFile.open(wasmtime_library()) as elf:
        sites = find_system_call_sites(elf)
        contents = elf.contents
    assert len(sites) == 241
    assert all(contents[site.file_offset : site.file_offset + 2] == b"\x0f\x05" for site in sites)
    names = system_call_names()
    assert {names[site.number or 0] for site in sites} >= {"mmap", "munmap", "mprotect", "madvise"}
    assert all(site.function for site in sites)


def test_a_number_loaded_just_before_the_instruction_is_the_one_told() -> None:
    checked = 0
    with ElfFile.open(wasmtime_library()) as elf:
        for site in find_system_call_sites(elf):
            prefix, opcode, number = unpack_from("<BBI", elf.contents, site.file_offset - 6)
            # mov eax, imm32 is b8; behind a REX prefix it is another register's.
            if opcode == 0xB8 and prefix & 0xF0 != 0x40:
                assert site.number == number, hex(site.address)
                checked += 1
    assert checked > 30


def test_the_names_agree_with_the_kernels_header() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("no kernel headers on this machine")
    names = system_call_names()
    for line in header.read_text().splitlines():
        if line.startswith("#define __NR_"):
            name, number = line.removeprefix("#define __NR_").split()
            assert names[int(number)] == name


def test_a_damaged_frame_index_is_an_image_error(compiled: Compile) -> None:
    path = compiled(
        ".intel_syntax noprefix\nf:\n.cfi_startproc\nmov eax, 39\nsyscall\nret\n.cfi_endproc\n"
    )
    with ElfFile.open(path) as elf:
        header = elf.segment_of_type(0x6474E550)
        assert header is not None
    data = bytearray(path.read_bytes())
    data[header.offset + 8 : header.offset + 12] = pack("<I", 1 << 30)
    path.write_bytes(data)
    with ElfFile.open(path) as elf, pytest.raises(ImageError, match="its frame index"):
        find_system_call_sites(elf)


def test_an_instruction_that_is_not_there_has_no_value() -> None:
    assert RegisterValues([(0, 2, "syscall", "")]).before(77, "rax") is None
