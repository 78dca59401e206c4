"""The guest machine code through which guest and Python reach each other, and their mailbox.

The machine's own pages, seen from their start:

::

    +0          mailbox, rw-: one page of 64-bit slots, below
    +0x1000     shared stubs, r-x
    +0x2000     export stubs, r-x: 16 bytes each, 65,536 of them
    +0x102000   placed code, r-x: prepared calls and what place_code() is given

    export stub n:      mov r11d, n;  jmp answered (or reentering)
    answered:           arguments → mailbox;  out dx, al  [Python answers here];
                        export ← none;
                        attention? → failed: hlt, or invalidate pages; then
                        rax ← mailbox;  ret
    reentering:         arguments → mailbox;  hlt  [Python answers with the CPU at rest];
                        rax ← mailbox;  ret
    call:               registers ← mailbox;  call target;  returned: rax → mailbox;  hlt
    flush:              invalidate the mailbox's list of pages, changing no register;  hlt

A ``hlt`` says why it stopped in the slot REASON. Which export was called travels in r11, which
the System V ABI lets a procedure linkage stub clobber, and from there through the mailbox: the
host callback then needs one parameter only, and conversion of each costs 30 ns. Between exports the
slot holds no export's number, by which an ``out`` of the guest's own is known.
"""

from __future__ import annotations

from theseus_kit.values.record import NamedTuple

MAILBOX_OFFSET = 0
SHARED_OFFSET = 0x1000
EXPORTS_OFFSET = 0x2000
EXPORT_SIZE = 16
EXPORT_LIMIT = 1 << 16
CODE_OFFSET = EXPORTS_OFFSET + EXPORT_SIZE * EXPORT_LIMIT

# Slots of the mailbox, in units of 8 bytes.
EXPORT = 0
ARGUMENTS = 1  # rdi rsi rdx rcx r8 r9
STACK_POINTER = 7
RESULT = 8
ATTENTION = 9
REASON = 10
CALL_STACK_POINTER = 12
CALL_TARGET = 13
CALL_ARGUMENTS = 14  # rdi rsi rdx rcx r8 r9
CALL_VECTORS = 20
TOP = 21
SAVED_RAX = 22
SAVED_RCX = 23
FLUSH_COUNT = 32
FLUSH_PAGES = 33
FLUSH_LIMIT = 256
# From 0xD00 on the page is scratch, and a stack for the machine's own calls.

NO_EXPORT = 0xFFFF_FFFF_FFFF_FFFF

ATTENTION_FAILED = 1
ATTENTION_FLUSH = 2

REASON_RETURNED = 1
REASON_REENTERING = 2
REASON_FAILED = 3
REASON_FLUSHED = 4


class Instruction(NamedTuple):
    """Machine code beside its assembly; ``slot`` is the mailbox slot it addresses, rip-relative.

    Such an instruction has its 32-bit displacement between ``code`` and ``tail``.
    """

    assembly: str
    code: str
    slot: int | None = None
    tail: str = ""


_STORE_ARGUMENTS = (
    Instruction("mov [export], r11", "4c 89 1d", EXPORT),
    Instruction("mov [arguments+0], rdi", "48 89 3d", ARGUMENTS + 0),
    Instruction("mov [arguments+1], rsi", "48 89 35", ARGUMENTS + 1),
    Instruction("mov [arguments+2], rdx", "48 89 15", ARGUMENTS + 2),
    Instruction("mov [arguments+3], rcx", "48 89 0d", ARGUMENTS + 3),
    Instruction("mov [arguments+4], r8", "4c 89 05", ARGUMENTS + 4),
    Instruction("mov [arguments+5], r9", "4c 89 0d", ARGUMENTS + 5),
    Instruction("mov [stack_pointer], rsp", "48 89 25", STACK_POINTER),
)
_LOAD_RESULT = (
    Instruction("mov rax, [result]", "48 8b 05", RESULT),
    Instruction("ret", "c3"),
)

ANSWERED = (
    *_STORE_ARGUMENTS,
    Instruction("out dx, al", "ee"),
    Instruction("mov qword ptr [export], -1", "48 c7 05", EXPORT, "ff ff ff ff"),
    Instruction("cmp qword ptr [attention], 0", "48 83 3d", ATTENTION, "00"),
    Instruction("jne attention", "75 08"),
    *_LOAD_RESULT,
    # attention:
    Instruction("cmp qword ptr [attention], 1", "48 83 3d", ATTENTION, "01"),
    Instruction("je failed", "74 2e"),
    Instruction("mov rcx, [flush_count]", "48 8b 0d", FLUSH_COUNT),
    Instruction("lea rdx, [flush_pages]", "48 8d 15", FLUSH_PAGES),
    # again:
    Instruction("mov rax, [rdx+rcx*8-8]", "48 8b 44 ca f8"),
    Instruction("invlpg [rax]", "0f 01 38"),
    Instruction("dec rcx", "48 ff c9"),
    Instruction("jne again", "75 f3"),
    Instruction("mov qword ptr [attention], 0", "48 c7 05", ATTENTION, "00 00 00 00"),
    *_LOAD_RESULT,
    # failed:
    Instruction("mov qword ptr [reason], 3", "48 c7 05", REASON, "03 00 00 00"),
    Instruction("hlt", "f4"),
)

REENTERING = (
    *_STORE_ARGUMENTS,
    Instruction("mov qword ptr [reason], 2", "48 c7 05", REASON, "02 00 00 00"),
    Instruction("hlt", "f4"),
)

REENTERED = (
    Instruction("mov qword ptr [export], -1", "48 c7 05", EXPORT, "ff ff ff ff"),
    *_LOAD_RESULT,
)

CALL = (
    Instruction("cld", "fc"),
    Instruction("mov rsp, [call_stack_pointer]", "48 8b 25", CALL_STACK_POINTER),
    Instruction("mov rdi, [call_arguments+0]", "48 8b 3d", CALL_ARGUMENTS + 0),
    Instruction("mov rsi, [call_arguments+1]", "48 8b 35", CALL_ARGUMENTS + 1),
    Instruction("mov rdx, [call_arguments+2]", "48 8b 15", CALL_ARGUMENTS + 2),
    Instruction("mov rcx, [call_arguments+3]", "48 8b 0d", CALL_ARGUMENTS + 3),
    Instruction("mov r8, [call_arguments+4]", "4c 8b 05", CALL_ARGUMENTS + 4),
    Instruction("mov r9, [call_arguments+5]", "4c 8b 0d", CALL_ARGUMENTS + 5),
    Instruction("mov rax, [call_vectors]", "48 8b 05", CALL_VECTORS),
    Instruction("xor ebp, ebp", "31 ed"),
    Instruction("call [call_target]", "ff 15", CALL_TARGET),
)

RETURNED = (
    Instruction("mov [result], rax", "48 89 05", RESULT),
    Instruction("mov qword ptr [reason], 1", "48 c7 05", REASON, "01 00 00 00"),
    Instruction("hlt", "f4"),
)

# Runs between two instructions of the guest, so it may change no register and no flag.
FLUSH = (
    Instruction("mov [saved_rax], rax", "48 89 05", SAVED_RAX),
    Instruction("mov [saved_rcx], rcx", "48 89 0d", SAVED_RCX),
    Instruction("mov rcx, [flush_count]", "48 8b 0d", FLUSH_COUNT),
    # again:
    Instruction("lea rax, [flush_pages]", "48 8d 05", FLUSH_PAGES),
    Instruction("mov rax, [rax+rcx*8-8]", "48 8b 44 c8 f8"),
    Instruction("invlpg [rax]", "0f 01 38"),
    Instruction("lea rcx, [rcx-1]", "48 8d 49 ff"),
    Instruction("jrcxz done", "e3 02"),
    Instruction("jmp again", "eb e9"),
    # done:
    Instruction("mov rax, [saved_rax]", "48 8b 05", SAVED_RAX),
    Instruction("mov rcx, [saved_rcx]", "48 8b 0d", SAVED_RCX),
    Instruction("mov qword ptr [reason], 4", "48 c7 05", REASON, "04 00 00 00"),
    Instruction("hlt", "f4"),
)

# cpuid(rdi: buffer of four 32-bit words, esi: leaf, edx: subleaf)
CPUID = (
    Instruction("push rbx", "53"),
    Instruction("mov r8, rdi", "49 89 f8"),
    Instruction("mov eax, esi", "89 f0"),
    Instruction("mov ecx, edx", "89 d1"),
    Instruction("cpuid", "0f a2"),
    Instruction("mov [r8], eax", "41 89 00"),
    Instruction("mov [r8+4], ebx", "41 89 58 04"),
    Instruction("mov [r8+8], ecx", "41 89 48 08"),
    Instruction("mov [r8+12], edx", "41 89 50 0c"),
    Instruction("pop rbx", "5b"),
    Instruction("ret", "c3"),
)

PARTS = {
    "answered": ANSWERED,
    "reentering": REENTERING,
    "reentered": REENTERED,
    "call": CALL,
    "returned": RETURNED,
    "flush": FLUSH,
    "cpuid": CPUID,
}


def encode(instructions: tuple[Instruction, ...], address: int, mailbox: int) -> bytes:
    """The machine code of instructions that start at an address."""
    code = bytearray()
    for instruction in instructions:
        code += bytes.fromhex(instruction.code)
        if instruction.slot is not None:
            tail = bytes.fromhex(instruction.tail)
            after = address + len(code) + 4 + len(tail)
            code += (mailbox + 8 * instruction.slot - after).to_bytes(4, "little", signed=True)
            code += tail
    return bytes(code)


def shared_stubs(own: int) -> tuple[bytes, dict[str, int]]:
    """The shared stubs' code, for the machine's own pages at ``own``, and each part's address."""
    code = b""
    addresses = {}
    for name, instructions in PARTS.items():
        addresses[name] = own + SHARED_OFFSET + len(code)
        code += encode(instructions, addresses[name], own + MAILBOX_OFFSET)
    return code, addresses


def export_stub(number: int, address: int, target: int) -> bytes:
    """``mov r11d, number`` (41 BB imm32); ``jmp target`` (E9 rel32)."""
    return (
        b"\x41\xbb"
        + number.to_bytes(4, "little")
        + b"\xe9"
        + (target - (address + 11)).to_bytes(4, "little", signed=True)
    )


def prepared_call(
    own: int, address: int, target: int, arguments: tuple[int, ...], returned: int
) -> bytes:
    """A call with its target and up to six arguments built in, on the stack whose top is TOP.

    ::

        cld
        mov rsp, [top]
        mov rdi, argument 0     (and so on, for the arguments there are)
        xor eax, eax
        xor ebp, ebp
        mov r11, target
        call r11
        jmp returned
    """
    start = (
        Instruction("cld", "fc"),
        Instruction("mov rsp, [top]", "48 8b 25", TOP),
    )
    loads = ("48 bf", "48 be", "48 ba", "48 b9", "49 b8", "49 b9")
    code = encode(start, address, own + MAILBOX_OFFSET)
    for load, argument in zip(loads, arguments, strict=False):
        code += bytes.fromhex(load) + argument.to_bytes(8, "little")
    code += bytes.fromhex("31 c0 31 ed 49 bb") + target.to_bytes(8, "little")
    code += bytes.fromhex("41 ff d3 e9")
    return code + (returned - (address + len(code) + 4)).to_bytes(4, "little", signed=True)
