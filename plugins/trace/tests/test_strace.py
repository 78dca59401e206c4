"""Decoded arguments, held to strace's: the same system calls on the host and in a traced guest."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STRACE = shutil.which("strace")

CALLER = """
import ctypes, json, sys
call = ctypes.CDLL(None, use_errno=True).syscall
call.restype = ctypes.c_long
for place, (number, arguments) in enumerate(json.load(sys.stdin)):
    call(3, -1000 - place)  # close: strace's line of it says whose line is the next one
    call(number, *[
        ctypes.c_char_p(a.encode("latin-1")) if isinstance(a, str) else ctypes.c_long(a)
        for a in arguments
    ])
"""
"""Runs on the host, under strace; texts are bytes that pointers point at."""

SAFE = 0x1000
"""An address at which neither the host nor the guest has anything."""
AT_FDCWD = -100


def some_calls() -> list[tuple[str, int, list[Any]]]:
    """System calls with arguments of every kind, none of which does anything on the host."""
    chosen = random.Random(5)

    def bits(*flags: int) -> int:
        return sum(chosen.sample(flags, chosen.randint(0, min(3, len(flags)))))

    calls: list[tuple[str, int, list[Any]]] = []
    for prot, kind in itertools.product(range(9), (1, 2, 3)):
        flags = kind | bits(0x10, 0x20, 0x40, 0x100, 0x800, 0x4000, 0x8000, 0x20000, 0x100000)
        calls.append(("mmap", 9, [SAFE, 0, prot, flags, -1, chosen.choice((0, 4096))]))
    protections = (*range(16), 0x01000001, 0x02000002, 0x40)
    calls += [("mprotect", 10, [SAFE + 1, 4096, prot]) for prot in protections]
    calls += [("madvise", 28, [SAFE + 1, 4096, advice]) for advice in range(27)]
    calls += [("msync", 26, [SAFE + 1, 4096, flags]) for flags in (*range(8), 16)]
    calls += [("lseek", 8, [-1, chosen.randint(-5, 5), whence]) for whence in range(6)]
    calls += [("flock", 73, [-1, operation]) for operation in (1, 2, 5, 8, 0)]
    calls += [("fadvise64", 221, [-1, 0, 100, advice]) for advice in range(8)]
    calls += [("clock_gettime", 228, [clock, 0]) for clock in (*range(10), 11, 77)]
    calls += [("getrandom", 318, [0, 0, flags]) for flags in range(8)]
    calls += [("rt_sigprocmask", 14, [how, 0, 0, 8]) for how in range(4)]
    for _ in range(40):
        access = chosen.choice((0, 1, 2))
        flags = access | bits(0o200, 0o400, 0o1000, 0o2000, 0o4000, 0o200000, 0o400000, 0o2000000)
        flags |= chosen.choice((0, 0, 0o4010000, 0o10000, 0o10000000, 0o40000))
        path = chosen.choice(("/nowhere/at/all", "", "/nowhere/" + "long" * 20, "/nowhere/\t\x07é"))
        calls.append(("openat", 257, [chosen.choice((AT_FDCWD, -1)), path, flags]))
    texts = [
        "",
        "plain",
        "a\tb\nc\rd",
        "\x001",
        "\x00x",
        "\x1b[0m",
        'quo"te\\',
        "\xff\xfe7",
        "x" * 32,
    ]
    texts += [
        "".join(chr(chosen.randrange(256)) for _ in range(chosen.randint(1, 50))) for _ in range(30)
    ]
    calls += [("write", 1, [-1, text, len(text.encode("latin-1"))]) for text in texts]
    return calls


@pytest.fixture(scope="module")
def on_the_host(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What strace says of the calls, from the name to the closing parenthesis."""
    if STRACE is None:
        pytest.skip("strace is not installed")
    log = tmp_path_factory.mktemp("strace") / "log"
    calls = [(number, arguments) for _, number, arguments in some_calls()]
    done = subprocess.run(
        [STRACE, "-o", str(log), sys.executable, "-c", CALLER],
        input=json.dumps(calls),
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode or not log.exists():
        pytest.skip(f"strace cannot trace here: {done.stderr.strip()}")
    lines = log.read_text(errors="surrogateescape").splitlines()
    found: dict[int, str] = {}
    for line, following in itertools.pairwise(lines):
        marked = re.match(r"close\(-(\d{4,})\)", line)
        if marked:
            found[int(marked[1]) - 1000] = following
    return [found[place] for place in range(len(calls))]


def before_the_result(line: str) -> str:
    """Up to the parenthesis that closes the arguments; strace's remarks left out."""
    arguments = re.sub(r"\)\s+= \S.*$", ")", line)
    return re.sub(r" /\* \S+ \*/", "", arguments.replace(", (unused))", ")"))


def test_arguments_are_decoded_as_strace_decodes_them(
    traced: Any, on_the_host: list[str], tmp_path: Path
) -> None:
    run = traced(include="syscall.*", times=False)
    machine = run.platform.machine
    strings = run.place(bytes(4096))
    # mov eax, number; mov r10, rcx; syscall; ret
    doors: dict[int, int] = {}
    wrong = []
    for (_, number, arguments), expected in zip(some_calls(), on_the_host, strict=True):
        if number not in doors:
            code = b"\xb8" + number.to_bytes(4, "little") + bytes.fromhex("4989ca 0f05 c3")
            doors[number] = machine.place_code(code)
        words = []
        for argument in arguments:
            if isinstance(argument, str):
                machine.memory.write(strings, argument.encode("latin-1") + b"\0")
                argument = strings
            words.append(argument & (1 << 64) - 1)
        start = len(run.text())
        machine.call(doors[number], words)
        line = run.text()[start:].splitlines()[0].removeprefix("main    syscall.")
        ours, theirs = (before_the_result(text) for text in (line, expected))
        if ours != theirs:
            wrong.append(f"{ours}   strace: {theirs}")
    assert not wrong
