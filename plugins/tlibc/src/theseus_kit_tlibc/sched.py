"""sched.h: processors and yielding.

The guest is told of one processor, whatever the host has: all tasks share one host thread, so a
second one would only be waited for. Programs start as many workers as they see processors. The
option ``processors`` says otherwise, for programs that want more than one to do anything at once.
"""

from __future__ import annotations

from typing import ClassVar

from theseus_kit.errors import InvalidParameterError
from theseus_kit_tlibc.declare import MINUS_ONE, RESULT, Header, c_function, system_call


class Sched(Header):
    header: ClassVar[str] = "sched.h"

    @c_function("int sched_yield(void)", system_call=24, on_error=MINUS_ONE, blocks=True)
    def sched_yield(self) -> int:
        self.library.services.tasks.yield_()
        return 0

    @c_function("int pthread_yield(void)", on_error=RESULT, blocks=True)
    def pthread_yield(self) -> int:
        return self.sched_yield()

    @c_function(
        "int sched_getaffinity(pid_t pid, size_t cpusetsize, cpu_set_t *mask)", on_error=MINUS_ONE
    )
    def sched_getaffinity(self, pid: int, cpusetsize: int, mask: int) -> int:
        self.raw_sched_getaffinity(pid, cpusetsize, mask)
        return 0

    @c_function(
        "int pthread_getaffinity_np(pthread_t thread, size_t cpusetsize, cpu_set_t *cpuset)",
        on_error=RESULT,
    )
    def pthread_getaffinity_np(self, thread: int, cpusetsize: int, cpuset: int) -> int:
        self.raw_sched_getaffinity(0, cpusetsize, cpuset)
        return 0

    @system_call(204, "long sched_getaffinity(pid_t pid, size_t cpusetsize, cpu_set_t *mask)")
    def raw_sched_getaffinity(self, pid: int, cpusetsize: int, mask: int) -> int:
        """The system call answers how many bytes it wrote; the C function answers 0."""
        bits = (1 << self.library.options.processors) - 1
        needed = -(-bits.bit_length() // 64) * 8
        if cpusetsize < needed or cpusetsize % 8:
            raise InvalidParameterError(f"sched_getaffinity with {cpusetsize} bytes")
        self.library.memory.write(mask, bits.to_bytes(cpusetsize, "little"))
        return needed

    @c_function("int sched_getcpu(void)", on_error=MINUS_ONE)
    def sched_getcpu(self) -> int:
        return 0
