"""The guest without a compiler: what ``guest.cpp`` says, as machine code beside its assembly.

Three functions of one shape hold a struct each; a fourth panics or faults. Beside the code stand
the two tables that an unwinder needs::

    unwind_test (1) → middle (2) → inner (3) → cause

    .eh_frame   for each function: where its frame keeps what, its personality, its LSDA
    LSDA        if the call at ``call_inner`` is unwound through, go on at ``landing_pad``

``@name`` is an address that is put in when the code is placed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from theseus_kit.values.memory import AddressRange, MapRequest, Protection
from theseus_kit.values.symbols import RuntimeCode, Symbol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from theseus_kit import Platform

# edi are the options, which go on to the callee; ebx is the struct. The landing pad finds the
# exception in rax and the other registers as the frame had them.
FRAME = """
    55                   | push rbp
    4889e5               | mov rbp, rsp
    53                   | push rbx
    4883ec08             | sub rsp, 8
    bb #                 | mov ebx, #number
    48b8 @callee         | movabs rax, @callee
    ffd0                 | call rax                        ; 24: the call site
    89df                 | mov edi, ebx
    48b8 @dropped        | movabs rax, @dropped
    ffd0                 | call rax
    4883c408             | add rsp, 8
    5b                   | pop rbx
    5d                   | pop rbp
    c3                   | ret
    488945f0             | mov qword ptr [rbp - 0x10], rax  ; 47: the landing pad
    89df                 | mov edi, ebx
    48b8 @dropped        | movabs rax, @dropped
    ffd0                 | call rax
    488b7df0             | mov rdi, qword ptr [rbp - 0x10]
    48b8 @resume         | movabs rax, @resume
    ffd0                 | call rax
    0f0b                 | ud2
"""
CALL_SITE, CALL_SIZE, LANDING_PAD = 24, 2, 47

CAUSE = """
    40f6c701             | test dil, 1                     ; CAUSE_PAGE_FAULT
    7411                 | je 0x17
    48b9efbeadde50500000 | movabs rcx, 0x5050deadbeef
    c70155555555         | mov dword ptr [rcx], 0x55555555
    c3                   | ret
    48b8 @panic          | movabs rax, @panic              ; 0x17
    ffe0                 | jmp rax
"""

# middle's callee with the option CATCH: catch_unwind_with_arg(inner, options)
CATCHING = """
    89fe                 | mov esi, edi
    48bf @inner          | movabs rdi, @inner
    48b8 @catch          | movabs rax, @catch
    ffe0                 | jmp rax
"""

# esi are the actions, rcx is the exception, r8 the context. It lands in the clean-up phase, where
# the LSDA's only call site says (its third byte), with the exception in rax.
PERSONALITY = """
    40f6c602             | test sil, 2                     ; _UA_CLEANUP_PHASE
    7506                 | jne 0xc
    b808000000           | mov eax, 8                      ; _URC_CONTINUE_UNWIND
    c3                   | ret
    55                   | push rbp
    4889e5               | mov rbp, rsp
    4154                 | push r12
    53                   | push rbx
    4989cc               | mov r12, rcx
    4c89c3               | mov rbx, r8
    4889df               | mov rdi, rbx
    48b8 @get_lsda       | movabs rax, @get_lsda
    ffd0                 | call rax
    0fb64006             | movzx eax, byte ptr [rax + 6]
    50                   | push rax
    4883ec08             | sub rsp, 8
    4889df               | mov rdi, rbx
    48b8 @get_start      | movabs rax, @get_start
    ffd0                 | call rax
    4883c408             | add rsp, 8
    5e                   | pop rsi
    4801c6               | add rsi, rax
    4889df               | mov rdi, rbx
    48b8 @set_ip         | movabs rax, @set_ip
    ffd0                 | call rax
    4889df               | mov rdi, rbx
    31f6                 | xor esi, esi
    4c89e2               | mov rdx, r12
    48b8 @set_register   | movabs rax, @set_register
    ffd0                 | call rax
    b807000000           | mov eax, 7                      ; _URC_INSTALL_CONTEXT
    5b                   | pop rbx
    415c                 | pop r12
    5d                   | pop rbp
    c3                   | ret
"""

_UNWIND_FUNCTIONS = {
    "resume": "_Unwind_Resume",
    "get_lsda": "_Unwind_GetLanguageSpecificData",
    "get_start": "_Unwind_GetRegionStart",
    "set_ip": "_Unwind_SetIP",
    "set_register": "_Unwind_SetGR",
}

# Call frame instructions (DWARF 5, 6.4.2); columns: rbx 3, rbp 6, rsp 7, r12 12, return address 16.
_AT_ENTRY = bytes.fromhex("0c 07 08  90 01")  # CFA = rsp + 8; return address at CFA - 8
_OF_A_FRAME = bytes.fromhex(
    "41  0e 10  86 02"  # behind push rbp: CFA = rsp + 16, rbp at CFA - 16
    "43  0d 06"  # behind mov rbp, rsp: CFA = rbp + 16
    "41  83 03"  # behind push rbx: rbx at CFA - 24
)
_OF_THE_PERSONALITY = bytes.fromhex("4d  0e 10  86 02   43  0d 06   42  8c 03   41  83 04")
_ABSOLUTE = 0
_OMITTED = 0xFF
_ULEB128 = 1


class _Function(NamedTuple):
    name: str
    start: int
    size: int
    instructions: bytes = b""
    cleans_up: bool = False


class _Pages:
    """Guest memory that is filled, piece by piece, and then made executable."""

    SIZE = 4096

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        request = MapRequest(self.SIZE, label="guest")
        self.base: int = platform.hooks.memory_map(request=request).base
        self._end: int = self.base

    def add(self, data: bytes) -> int:
        start = self._end
        self._platform.machine.memory.write(start, data)
        self._end = start + len(data) + 15 & -16
        assert self._end <= self.base + self.SIZE
        return start

    def seal(self) -> None:
        self._platform.hooks.memory_protect(
            address=self.base, size=self.SIZE, protection=Protection.READ_EXECUTE
        )


def encode(listing: str, addresses: Mapping[str, int], number: int = 0) -> bytes:
    """The bytes of a listing, with addresses and the struct's number put in."""
    code = b""
    for line in listing.strip().splitlines():
        for piece in line.partition("|")[0].split():
            if piece.startswith("@"):
                code += addresses[piece[1:]].to_bytes(8, "little")
            elif piece == "#":
                code += number.to_bytes(4, "little")
            else:
                code += bytes.fromhex(piece)
    return code


def build(platform: Platform, imports: Mapping[str, int]) -> dict[int, int]:
    """Place the guest; return the address of unwind_test without and with the option CATCH.

    ``imports`` are the addresses of ``dropped``, ``panic`` and ``catch``.
    """
    addresses = dict(imports)
    for name, symbol in _UNWIND_FUNCTIONS.items():
        found = platform.namespace.resolve(symbol)
        assert found is not None, f"no plugin provides {symbol}"
        addresses[name] = found
    pages = _Pages(platform)
    functions: list[_Function] = []

    def place(name: str, listing: str, number: int = 0, instructions: bytes = b"") -> int:
        code = encode(listing, addresses, number)
        start = pages.add(code)
        functions.append(_Function(name, start, len(code), instructions, number > 0))
        return start

    def frame(name: str, number: int, callee: int) -> int:
        addresses["callee"] = callee
        return place(name, FRAME, number, _OF_A_FRAME)

    personality = place("personality", PERSONALITY, instructions=_OF_THE_PERSONALITY)
    addresses["inner"] = frame("inner", 3, place("cause", CAUSE))
    middles = {0: addresses["inner"], 2: place("catching", CATCHING)}
    starts = {
        options: frame("unwind_test", 1, frame("middle", 2, callee))
        for options, callee in middles.items()
    }
    lsda = pages.add(language_specific_data())
    table = pages.add(unwind_table(functions, personality, lsda))
    pages.seal()
    hooks = platform.hooks
    hooks.unwind_register_tables(frame_table=table)
    symbols = tuple(Symbol(f.start, 0, f.size, f.name) for f in functions)
    text = AddressRange.of_size(pages.base, pages.SIZE)
    hooks.symbols_register(code=RuntimeCode(text, "guest", symbols))
    return starts


def language_specific_data() -> bytes:
    """One call site with a landing pad that cleans up (no action); no types.

    Source: "Exception Handling Tables" of the Itanium C++ ABI.
    """
    site = bytes((CALL_SITE, CALL_SIZE, LANDING_PAD, 0))
    return bytes((_OMITTED, _OMITTED, _ULEB128, len(site))) + site


def unwind_table(functions: list[_Function], personality: int, lsda: int) -> bytes:
    """An .eh_frame section: a CIE for functions that clean up, one for the others, an FDE each."""
    augmentation = bytes((_ABSOLUTE,)) + personality.to_bytes(8, "little") + bytes((_ABSOLUTE,) * 2)
    table = _common(b"zPLR", augmentation)
    plain = len(table)
    table += _common(b"zR", bytes((_ABSOLUTE,)))
    for function in functions:
        common = 0 if function.cleans_up else plain
        own = lsda.to_bytes(8, "little") if function.cleans_up else b""
        body = (len(table) + 4 - common).to_bytes(4, "little")
        body += function.start.to_bytes(8, "little") + function.size.to_bytes(8, "little")
        body += bytes((len(own),)) + own + function.instructions
        table += _entry(body)
    return table + bytes(4)


def _common(augmentation: bytes, data: bytes) -> bytes:
    body = bytes(4) + b"\x01" + augmentation + b"\0" + bytes((1, 0x78, 16, len(data))) + data
    return _entry(body + _AT_ENTRY)


def _entry(body: bytes) -> bytes:
    body += bytes(-len(body) % 8)  # DW_CFA_nop
    return len(body).to_bytes(4, "little") + body
