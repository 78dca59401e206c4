"""Calls from ctypes values into guest machine code and back, on a real machine."""

from __future__ import annotations

import ctypes
import gc
import re
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theseus_kit.errors import MachineError
from theseus_kit.machine.protocol import Ability


class Pair(ctypes.Structure):
    _fields_ = [("number", ctypes.c_uint64), ("pointer", ctypes.POINTER(ctypes.c_uint8))]


class Vector(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("data", ctypes.POINTER(ctypes.c_uint8))]


class Either(ctypes.Union):
    _fields_ = [("number", ctypes.c_uint64), ("pointer", ctypes.POINTER(ctypes.c_uint8))]


class Opaque(ctypes.Structure):
    pass


U8, U32, U64 = ctypes.c_uint8, ctypes.c_uint32, ctypes.c_uint64
INTEGERS = (
    *(ctypes.c_int8, ctypes.c_uint8, ctypes.c_int16, ctypes.c_uint16),
    *(ctypes.c_int32, ctypes.c_uint32, ctypes.c_int64, ctypes.c_uint64, ctypes.c_bool),
)


def test_the_functions_are_what_their_assembly_says(bench: Any) -> None:
    capstone = pytest.importorskip("capstone")
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    for assembly, code in bench.functions.values():
        decoded = decoder.disasm(bytes.fromhex(code), 0)
        shown = "; ".join(f"{i.mnemonic} {i.op_str}".strip() for i in decoded)
        assert shown == assembly


@pytest.mark.parametrize("kind", INTEGERS, ids=lambda kind: kind.__name__)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.integers(-(1 << 64), 1 << 64))
def test_an_integer_is_cut_to_its_type_as_the_host_does_it(
    bench: Any, kind: Any, value: int
) -> None:
    function = bench.function("first_argument", kind, kind)
    assert function(value) == kind(value).value
    assert function(kind(value)) == kind(value).value


def test_arguments_after_the_sixth_are_on_the_stack(bench: Any) -> None:
    function = bench.function("eighth_argument", U64, *[U64] * 8)
    assert function(*range(8)) == 7


def test_a_wrong_argument_is_named_by_its_position(bench: Any) -> None:
    function = bench.function("store", None, ctypes.POINTER(U64), U64)
    with pytest.raises(ctypes.ArgumentError, match="argument 2: TypeError"):
        function(ctypes.byref(U64()), "text")
    with pytest.raises(ctypes.ArgumentError, match="expected LP_c_ulong instance instead of LP_c_"):
        function(ctypes.pointer(U8()), 1)


def test_a_wrong_number_of_arguments_is_refused(bench: Any) -> None:
    function = bench.function("store", None, ctypes.POINTER(U64), U64)
    with pytest.raises(TypeError, match=r"takes 2 arguments|missing 1 required"):
        function(1)


def test_a_function_the_library_lacks_is_an_attribute_error(bench: Any) -> None:
    with pytest.raises(AttributeError, match=r"libtest\.so: undefined symbol: absent"):
        bench.library.absent()


def test_floating_point_arguments_are_refused_by_name(bench: Any) -> None:
    with pytest.raises(TypeError, match="c_double are not supported"):
        bench.function("first_argument", None, ctypes.c_double)(1.0)


def test_what_is_passed_by_reference_is_changed_in_place(bench: Any) -> None:
    function = bench.function("increment", None, ctypes.POINTER(U32))
    number = U32(41)
    function(ctypes.byref(number))
    assert number.value == 42
    function(ctypes.pointer(number))
    assert number.value == 43
    function(number)  # ctypes passes a T by reference where a POINTER(T) is due
    assert number.value == 44


def test_an_array_is_passed_whole_and_comes_back_whole(bench: Any) -> None:
    numbers = (U32 * 3)(1, 2, 3)
    bench.function("increment", None, ctypes.POINTER(U32))(numbers)
    assert list(numbers) == [2, 2, 3]
    content = (U8 * 5).from_buffer_copy(b"abcde")
    assert bench.function("last_byte", U8, ctypes.POINTER(U8), U64)(content, 5) == ord("e")


def test_an_array_larger_than_the_scratch_memory_gets_a_mapping_for_the_call(bench: Any) -> None:
    size = 3 << 20
    content = (U8 * size)()
    content[size - 1] = 77
    last_byte = bench.function("last_byte", U8, ctypes.POINTER(U8), U64)
    assert last_byte(content, size) == 77
    copied = Ability.ISOLATION in bench.machine.abilities
    expected = [size + 2 * 4096] if copied else []  # its guest sees the array itself
    assert [unmapped.size for unmapped in bench.mapper.unmapped] == expected


@pytest.mark.parametrize("kind", [ctypes.POINTER(ctypes.c_char), ctypes.c_char_p, ctypes.c_void_p])
def test_bytes_are_passed_with_a_zero_after_them(bench: Any, kind: Any) -> None:
    last_byte = bench.function("last_byte", U8, kind, U64)
    assert last_byte(b"xyz", 3) == ord("z")
    assert last_byte(b"xyz", 4) == 0
    assert last_byte(ctypes.c_char_p(b"xyz"), 3) == ord("z")
    assert last_byte(ctypes.create_string_buffer(b"xyz"), 3) == ord("z")


def test_null_stays_null(bench: Any) -> None:
    for kind in (ctypes.c_void_p, ctypes.POINTER(U8), ctypes.c_char_p):
        assert bench.function("first_argument", U64, kind)(None) == 0
    assert bench.function("first_argument", U64, ctypes.POINTER(U8))(ctypes.POINTER(U8)()) == 0


def test_a_guest_pointer_is_passed_as_it_is_and_read_in_place(bench: Any) -> None:
    address = bench.guest_bytes(b"\x07\x08")
    pointer = bench.function("first_argument", ctypes.POINTER(U8), U64)(address)
    assert ctypes.addressof(pointer.contents) == address
    assert pointer[1] == 8
    assert bench.function("first_argument", U64, ctypes.POINTER(U8))(pointer) == address
    assert bench.function("first_argument", U64, ctypes.POINTER(U8))(pointer.contents) == address


def test_results_come_as_ctypes_would_give_them(bench: Any) -> None:
    address = bench.guest_bytes(b"text\0more")
    assert bench.function("first_argument", ctypes.c_char_p, U64)(address) == b"text"
    assert bench.function("first_argument", ctypes.c_char_p, U64)(0) is None
    assert bench.function("first_argument", ctypes.c_void_p, U64)(address) == address
    assert bench.function("first_argument", ctypes.c_void_p, U64)(0) is None
    assert bench.function("first_argument", None, U64)(5) is None
    assert not bench.function("first_argument", ctypes.POINTER(U8), U64)(0)


def test_a_structure_of_opaque_type_is_only_a_name(bench: Any) -> None:
    kind = ctypes.POINTER(Opaque)
    pointer = bench.function("first_argument", kind, U64)(0x1234_5678)
    assert bench.function("first_argument", U64, kind)(pointer) == 0x1234_5678


def test_a_host_pointer_inside_a_structure_is_followed(bench: Any) -> None:
    pair = Pair(1, (U8 * 2)(9, 10))
    host = ctypes.addressof(pair.pointer.contents)
    assert bench.function("byte_behind_second_pointer", U8, ctypes.POINTER(Pair))(pair) == 9
    assert ctypes.addressof(pair.pointer.contents) == host


def test_what_the_guest_changes_behind_a_pointer_comes_back(bench: Any) -> None:
    number = U32(21)
    double = bench.function("double_behind_pointer", None, ctypes.POINTER(ctypes.POINTER(U32)))
    double(ctypes.byref(ctypes.pointer(number)))
    assert number.value == 42


def test_a_pointer_the_guest_stores_comes_back(bench: Any) -> None:
    address = bench.guest_bytes(b"\x05")
    pointer = ctypes.POINTER(U8)()
    store = bench.function("store", None, ctypes.POINTER(ctypes.POINTER(U8)), U64)
    store(ctypes.byref(pointer), address)
    assert pointer[0] == 5


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_vector_is_followed_by_its_size(bench: Any, size: int) -> None:
    content = (U8 * size)()
    content[size - 1] = 9
    vector = Vector(size, ctypes.cast(ctypes.addressof(content), ctypes.POINTER(U8)))
    assert bench.function("last_of_vector", U8, ctypes.POINTER(Vector))(vector) == 9


def test_the_dangling_pointer_of_an_empty_vector_is_left_alone(bench: Any) -> None:
    vector = Vector(0, ctypes.cast(1, ctypes.POINTER(U8)))
    bench.function("store", None, ctypes.POINTER(Vector), U64)(vector, 0)
    assert ctypes.cast(vector.data, ctypes.c_void_p).value == 1


def test_a_number_in_a_union_is_not_mistaken_for_a_pointer(bench: Any) -> None:
    content = (U8 * 1)(5)
    number = ctypes.addressof(content)
    load = bench.function("load", U64, ctypes.POINTER(Either))
    assert load(Either(number=number)) == number


def test_a_pointer_in_a_union_is_followed_while_ctypes_keeps_its_target(bench: Any) -> None:
    content = U8(33)
    either = Either(pointer=ctypes.pointer(content))
    assert bench.function("byte_behind_pointer", U8, ctypes.POINTER(Either))(either) == 33


def test_an_array_of_strings_is_followed_to_the_strings(bench: Any) -> None:
    strings = (ctypes.c_char_p * 2)(b"first", b"second")
    kind = ctypes.POINTER(ctypes.POINTER(ctypes.c_char))
    second = bench.function("byte_behind_second_pointer", U8, kind)
    assert second(ctypes.cast(strings, kind)) == ord("s")
    assert strings[1] == b"second"


def test_scratch_memory_is_given_back_after_every_call(bench: Any) -> None:
    function = bench.function("increment", None, ctypes.POINTER(U32))
    number = U32(0)
    for _ in range(20_000):
        function(number)
    assert number.value == 20_000
    assert bench.mapper.unmapped == []


def test_a_callback_is_called_with_ctypes_values(bench: Any) -> None:
    kind = bench.types.function_type(U64, ctypes.POINTER(U8))
    given: list[int] = []

    def look(pointer: Any) -> int:
        given.append(pointer[0])
        return 99

    callback = kind(look)
    call = bench.function("call_with", U64, kind, ctypes.c_void_p)
    assert call(callback, bench.guest_bytes(b"\x2a")) == 99
    assert given == [42]
    assert callback((U8 * 1)(1)) == 99  # from Python it is the callable itself


def test_equal_signatures_are_the_same_function_type(bench: Any) -> None:
    first = bench.types.function_type(None, ctypes.c_void_p)
    assert first is bench.types.function_type(None, ctypes.c_void_p)
    assert first is not bench.types.function_type(U8, ctypes.c_void_p)


def test_a_callback_may_call_the_guest_again_to_any_depth(bench: Any) -> None:
    kind = bench.types.function_type(U64, U64)
    call = bench.function("call_with", U64, kind, U64)
    increment = bench.function("increment", None, ctypes.POINTER(U32))
    counter = U32(0)

    def descend(depth: int) -> int:
        increment(counter)
        return 1 + call(callback, depth - 1) if depth else 0

    callback = kind(descend)
    assert call(callback, 50) == 50
    assert counter.value == 51


def test_what_a_callback_raises_comes_out_of_the_call_unchanged(bench: Any) -> None:
    kind = bench.types.function_type(U64, U64)
    error = KeyError("host")

    def fail(_: int) -> int:
        raise error

    with pytest.raises(KeyError) as caught:
        bench.function("call_with", U64, kind, U64)(kind(fail), 0)
    assert caught.value is error


def test_a_function_pointer_from_the_guest_can_be_called(bench: Any) -> None:
    kind = bench.types.function_type(U64, U64)
    pointer = kind(bench.library.first_argument.address)
    assert pointer(17) == 17
    with pytest.raises(ValueError, match="NULL"):
        kind()(1)


def test_a_call_without_result_waits_while_the_guest_cannot_be_called(bench: Any) -> None:
    increment = bench.function("increment", None, ctypes.POINTER(U32))
    read = bench.function("first_argument", U64, U64)
    counter = U32(0)
    seen = []

    def inside(_: int) -> int:
        increment(counter)
        seen.append(counter.value)
        return 0

    address = bench.machine.export(inside, 1, reenters=False)
    bench.machine.call(address, [0])
    assert seen == [0]
    read(0)
    assert counter.value == 1


def test_a_closed_machine_swallows_finalisers_and_refuses_the_rest(bench: Any) -> None:
    increment = bench.function("increment", None, ctypes.POINTER(U32))
    read = bench.function("first_argument", U64, U64)
    read(0)
    increment(U32(0))
    bench.machine.close()
    increment(U32(0))
    with pytest.raises(MachineError, match="cannot be called now"):
        read(0)


def test_a_closed_library_lets_go_of_the_machine(bench: Any) -> None:
    increment = bench.function("increment", None, ctypes.POINTER(U32))
    read = bench.function("first_argument", U64, U64)
    assert read(1) == 1
    pointer = bench.types.function_type(U64, U64)(bench.library.first_argument.address)
    bench.library.close()
    bench.types.close()
    assert bench.machine not in gc.get_referents(bench.library.__dict__)
    increment(U32(0))
    for call in (read, pointer):
        with pytest.raises(MachineError, match=r"platform .*is closed"):
            call(0)


def test_another_threads_finaliser_waits_while_a_call_is_in_progress(bench: Any) -> None:
    kind = bench.types.function_type(U64, U64)
    call = bench.function("call_with", U64, kind, U64)
    increment = bench.function("increment", None, ctypes.POINTER(U32))
    counter = U32(0)
    refused: list[str] = []

    def elsewhere() -> None:
        increment(counter)
        try:
            call(callback, 0)
        except MachineError as error:
            refused.append(str(error))

    def inside(_: int) -> int:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return counter.value

    callback = kind(inside)
    assert call(callback, 0) == 0
    assert len(refused) == 1
    assert re.fullmatch("call_with: (another thread is using|.*not by this thread$).*", refused[0])
    call(kind(lambda number: number), 0)
    assert counter.value == 1
    thread = threading.Thread(target=increment, args=(counter,))
    thread.start()
    thread.join()
    assert counter.value == 2  # between calls any thread may call
