"""The _Unwind_* functions a backtrace needs, with the host's libgcc as the oracle."""

import ctypes

import pytest

from theseus_kit.errors import GuestKilled, PlatformError
from theseus_kit_backtrace.unwind_contexts import Contexts

SOURCE = """
typedef unsigned long word;
typedef int (*callback)(void *context, void *argument);
extern int _Unwind_Backtrace(callback, void *);
extern word _Unwind_GetIPInfo(void *, int *);
extern word _Unwind_GetIP(void *);
extern word _Unwind_GetCFA(void *);
extern word _Unwind_GetRegionStart(void *);
extern word _Unwind_GetTextRelBase(void *);
extern void *_Unwind_FindEnclosingFunction(void *);

struct trace { word count, limit, instruction[16], start[16], stack[16]; };

static int note(void *context, void *argument)
{
    struct trace *trace = argument;
    int exact = -1;
    if (trace->count == trace->limit)
        return 1;
    trace->instruction[trace->count] = _Unwind_GetIPInfo(context, &exact);
    trace->start[trace->count] = _Unwind_GetRegionStart(context);
    trace->stack[trace->count] = _Unwind_GetCFA(context);
    if (exact != 0 || _Unwind_GetIP(context) != trace->instruction[trace->count])
        return 2;
    trace->count++;
    return 0;
}

int inner(struct trace *trace) { int r = _Unwind_Backtrace(note, trace); __asm__(""); return r; }
int middle(struct trace *trace) { int r = inner(trace); __asm__(""); return r; }
int outer(struct trace *trace) { int r = middle(trace); __asm__(""); return r; }
void *enclosing(void *address) { return _Unwind_FindEnclosingFunction(address); }
"""

URC_FATAL_PHASE1_ERROR, URC_END_OF_STACK = 3, 5
FUNCTIONS = ("inner", "middle", "outer")


class Trace(ctypes.Structure):
    _fields_ = [
        ("count", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("instruction", ctypes.c_uint64 * 16),
        ("start", ctypes.c_uint64 * 16),
        ("stack", ctypes.c_uint64 * 16),
    ]


@pytest.fixture(scope="module")
def image_path(compile_image):
    return compile_image(
        "traced", SOURCE, "-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-lgcc_s"
    )


@pytest.fixture(scope="module")
def image(platform, image_path):
    return platform.load(image_path)


def guest_trace(platform, image, stack_memory, limit):
    platform.machine.memory.write(stack_memory.start, bytes(Trace(limit=limit)))
    code = image.call("outer", stack_memory.start)
    data = platform.machine.memory.read(stack_memory.start, ctypes.sizeof(Trace))
    return code, Trace.from_buffer_copy(data)


def test_the_frames_of_an_image_are_those_the_hosts_libgcc_sees(
    platform, image, image_path, stack_memory
):
    _, ours = guest_trace(platform, image, stack_memory, limit=3)
    host = ctypes.CDLL(str(image_path))
    theirs = Trace(limit=3)
    host.outer(ctypes.byref(theirs))
    base = ctypes.cast(host.inner, ctypes.c_void_p).value - image.symbols["inner"]
    assert ours.count == theirs.count == 3
    for index in range(3):
        assert ours.instruction[index] == theirs.instruction[index] - base
        assert ours.start[index] == theirs.start[index] - base
    for name, start in zip(FUNCTIONS, ours.start, strict=False):
        assert start == image.symbols[name]
    # Stacks differ in place but not in the distances of their frames.
    for index in range(2):
        ours_apart = ours.stack[index + 1] - ours.stack[index]
        assert ours_apart == theirs.stack[index + 1] - theirs.stack[index]


def test_a_callback_that_says_stop_ends_the_walk(platform, image, stack_memory):
    code, trace = guest_trace(platform, image, stack_memory, limit=2)
    assert (code, trace.count) == (URC_FATAL_PHASE1_ERROR, 2)


def test_a_walk_to_the_end_says_so(platform, image, stack_memory):
    code, trace = guest_trace(platform, image, stack_memory, limit=16)
    assert code == URC_END_OF_STACK
    assert trace.count >= 3


def test_the_enclosing_function_of_an_address_is_its_symbols_start(image):
    start = image.symbols["middle"]
    assert image.call("enclosing", start + 5) == start
    assert image.call("enclosing", 0x10) == 0


def test_a_context_outside_of_its_callback_is_refused():
    contexts = Contexts()
    with pytest.raises(PlatformError, match="0x10 is no unwind context"):
        contexts.instruction_pointer(0x10)


def test_asking_about_a_stale_context_kills_the_guest(fresh_platform, image_path):
    address = fresh_platform.namespace.resolve("_Unwind_GetCFA")
    with pytest.raises(GuestKilled, match="no unwind context"):
        fresh_platform.machine.call(address, (16,))
