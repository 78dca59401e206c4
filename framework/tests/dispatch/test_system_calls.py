"""System calls: who serves a number, and what a caller gets in rax."""

import errno

import pytest

from theseus_kit.dispatch.system_calls import SystemCalls
from theseus_kit.errors import InvalidParameterError, PluginError
from theseus_kit.values.linkage import CFunction, SystemCall

MASK = (1 << 64) - 1
SYSCALL_RET = bytes.fromhex("4889f8 4889f7 4889d6 4889ca 0f05 c3")
"""mov rax, rdi; mov rdi, rsi; mov rsi, rdx; mov rdx, rcx; syscall; ret"""


def call_of(number, prototype, body):
    return SystemCall(number, CFunction(prototype, body))


def test_arguments_are_decoded_by_the_prototype():
    got = []
    calls = SystemCalls()
    calls.provide(
        "p", call_of(3, "int close(int fd, size_t n)", lambda *args: got.append(args) or 0)
    )

    assert calls(3, MASK, MASK, 1, 2, 3, 4) == 0
    assert got == [(-1, MASK)]


def test_a_negative_result_is_unsigned_in_rax():
    calls = SystemCalls()
    calls.provide("p", call_of(1, "long f(void)", lambda: -5))

    assert calls(1, 0, 0, 0, 0, 0, 0) == MASK - 4


def test_an_error_is_a_negated_error_number():
    def refuse() -> int:
        raise InvalidParameterError("no")

    calls = SystemCalls()
    calls.provide("p", call_of(1, "long f(void)", refuse))

    assert calls(1, 0, 0, 0, 0, 0, 0) == -errno.EINVAL & MASK


def test_a_number_nobody_serves_answers_enosys_and_is_counted():
    calls = SystemCalls()

    assert [calls(319, 0, 0, 0, 0, 0, 0) for _ in range(2)] == [-errno.ENOSYS & MASK] * 2
    assert calls.unanswered == {319: 2}


def test_of_two_plugins_the_first_serves_a_number():
    calls = SystemCalls()

    assert calls.provide("first", call_of(1, "long f(void)", lambda: 1))
    assert not calls.provide("second", call_of(1, "long g(void)", lambda: 2))

    assert calls(1, 0, 0, 0, 0, 0, 0) == 1
    assert calls.provider_of(1) == "first"
    assert calls.provided(1).name == "f"
    assert calls.provider_of(2) is None


def test_an_error_in_a_body_names_the_plugin_and_the_call():
    calls = SystemCalls()
    calls.provide("p", call_of(1, "long f(int x)", lambda x: 1 // x))

    with pytest.raises(PluginError, match=r"plugin 'p', hook f\(x=0\): raised ZeroDivisionError"):
        calls(1, 0, 0, 0, 0, 0, 0)


def test_a_prototype_of_seven_arguments_is_refused():
    calls = SystemCalls()
    prototype = "long f(int a, int b, int c, int d, int e, int f, int g)"
    calls.provide("p", call_of(1, prototype, lambda *args: 0))

    with pytest.raises(PluginError, match="at most six"):
        calls(1, 0, 0, 0, 0, 0, 0)


def test_a_syscall_instruction_reaches_the_plugin_that_serves_it(platform):
    code = platform.machine.place_code(SYSCALL_RET)
    getpid, mprotect = 39, 10

    assert platform.machine.call(code, (getpid, 0, 0, 0)) > 0
    assert platform.machine.call(code, (mprotect, 1, 4096, 0)) == -errno.EINVAL & MASK
