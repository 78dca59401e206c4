"""A walk goes from a signal's handler on to what it interrupted."""

import pytest

from theseus_kit.values.linkage import CFunction
from theseus_kit.values.symbols import FrameKind

HANDLED = r"""
#define _GNU_SOURCE
#include <signal.h>
#include <ucontext.h>
extern void python(void);
static char alternate[65536];
static void on_fault(int signum, siginfo_t *info, void *context)
{
    python();
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}
void install(int flags)
{
    struct sigaction action = {0};
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    sigaltstack(&stack, 0);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | flags;
    sigaction(SIGILL, &action, 0);
}
__attribute__((noinline)) int faults(int n) { __asm__ volatile("ud2" ::: "rbx", "r12"); return n; }
int outer(int n) { int r = faults(n) + 1; __asm__ volatile(""); return r; }
"""
SA_ONSTACK = 0x08000000


@pytest.mark.parametrize("flags", [0, SA_ONSTACK])
def test_the_frames_that_a_signal_interrupted_follow_its_handlers(
    any_platform, compile_image, flags
):
    traces = []
    any_platform.namespace.provide(
        "test", CFunction("void python(void)", lambda: traces.append(any_platform.backtrace()))
    )
    image = any_platform.load(
        compile_image("handled", HANDLED, "-O1", "-fno-optimize-sibling-calls")
    )
    image.call("install", flags)
    assert image.call("outer", 5) == 6
    (trace,) = traces
    names = [entry.symbols[0].name for entry in trace if entry.symbols and entry.symbols[0].name]
    assert names == ["python", "on_fault", "signal return", "faults", "outer"]
    frames = {entry.symbols[0].name: entry.frame for entry in trace if entry.symbols}
    assert frames["signal return"].kind is FrameKind.PLATFORM
    assert frames["faults"].is_exact
    assert not frames["outer"].is_exact
    assert trace[-1].frame.end_reason is None
