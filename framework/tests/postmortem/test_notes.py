"""Notes: what is written is what is read back, by us and by pyelftools."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.postmortem import notes
from theseus_kit.postmortem.core_file import PN_XNUM, program_headers
from theseus_kit.postmortem.notes import MappedFile
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import PAGE_SIZE, AddressRange, Protection, Region

pages = st.integers(0, (1 << 35) - 1).map(lambda page: page * PAGE_SIZE)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50)
files = st.builds(MappedFile, st.builds(AddressRange, pages, pages), pages, names)


@given(st.lists(files, max_size=20))
def test_mapped_files_are_read_back(mapped):
    ((kind, content),) = notes.read_notes(notes.mapped_files(mapped))
    assert kind == notes.NT_FILE
    assert notes.read_mapped_files(content) == mapped


@given(st.lists(files, max_size=5), st.data())
def test_a_damaged_list_of_files_is_an_error_or_another_list(mapped, data):
    ((_, content),) = notes.read_notes(notes.mapped_files(mapped))
    content = bytearray(content[: data.draw(st.integers(0, len(content)))])
    if content:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = notes.read_mapped_files(bytes(content))
    except ValueError:
        return
    assert all(isinstance(file, MappedFile) for file in found)


@given(st.lists(st.tuples(st.integers(0, 99), st.binary(max_size=40)), max_size=10))
def test_notes_are_split_as_they_were_joined(contents):
    joined = b"".join(notes.note(kind, content) for kind, content in contents)
    assert notes.read_notes(joined) == contents


def test_a_task_s_status_has_the_registers_where_the_kernel_puts_them():
    registers = Registers(*range(1, 19))  # rax 1 … rip 17, rflags 18
    ((_, content),) = notes.read_notes(notes.task_status(7, registers, 0x5000, 11))
    assert len(content) == 336
    assert struct.unpack_from("<i", content, 32) == (7,)
    assert struct.unpack_from("<h", content, 12) == (11,)
    general = struct.unpack_from("<27Q", content, 112)
    assert general[16] == registers.rip
    assert general[19] == registers.rsp
    assert general[14] == registers.rdi
    assert general[21] == 0x5000


def test_a_program_s_name_is_cut_to_what_the_kernel_keeps():
    ((_, content),) = notes.read_notes(notes.process_information(1, "n" * 30, "a" * 300))
    assert len(content) == 136
    assert content[40:56] == b"n" * 15 + b"\0"
    assert content[56:] == b"a" * 79 + b"\0"


@pytest.mark.parametrize("count", [3, PN_XNUM - 2, PN_XNUM + 5])
def test_more_regions_than_a_header_can_count_are_counted_in_a_section_header(count):
    regions = [Region(index * PAGE_SIZE, PAGE_SIZE, Protection.READ) for index in range(count)]
    headers = program_headers(regions, 0x100_0000, 0, 0x200_0000)
    (said,) = struct.unpack_from("<H", headers, 56)
    if count + 1 < PN_XNUM:
        assert said == count + 1
    else:
        (sections,) = struct.unpack_from("<Q", headers, 40)
        assert said == PN_XNUM
        assert sections == 0x100_0000 - 64
