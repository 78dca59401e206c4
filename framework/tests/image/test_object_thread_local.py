"""Thread-local variables of relocatable objects, in every model that compilers know."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack

import pytest

from theseus_kit import Image, ImageError, Platform

from .tiny_object import (
    ALLOC,
    LOCAL,
    NOBITS,
    NOTYPE,
    THREAD_LOCAL,
    TLS,
    WRITE,
    F,
    Relocation,
    Section,
    Symbol,
    TinyObject,
    code,
)

Link = Callable[..., Image]
PLT32, TLSGD, TLSLD, DTPOFF32, GOTTPOFF, TPOFF32, GOTPC32_TLSDESC, TLSDESC_CALL = (
    4,
    19,
    20,
    21,
    22,
    23,
    34,
    35,
)


def thread_local(body: Section, *more: Section) -> TinyObject:
    """``variable`` is the second word of .tdata, 0x2222, and ``zero`` the one of .tbss."""
    data = Section(".tdata", pack("<QQ", 0x1111, 0x2222), ALLOC | WRITE | THREAD_LOCAL)
    zero = Section(".tbss", flags=ALLOC | WRITE | THREAD_LOCAL, type=NOBITS, size=8)
    symbols = [
        F,
        Symbol("variable", ".tdata", 8, TLS),
        Symbol("zero", ".tbss", 0, TLS, LOCAL),
        Symbol("__tls_get_addr", type=NOTYPE),
    ]
    return TinyObject([body, data, zero, *more], symbols)


GENERAL_DYNAMIC = code(
    # lea rdi, [rip + …]; sub rsp, 8; call __tls_get_addr; add rsp, 8; mov rax, [rax]; ret
    "48 8d 3d 00000000 48 83 ec 08 e8 00000000 48 83 c4 08 48 8b 00 c3",
    Relocation(3, TLSGD, "variable", -4),
    Relocation(12, PLT32, "__tls_get_addr", -4),
)
LOCAL_DYNAMIC = code(
    "48 8d 3d 00000000 48 83 ec 08 e8 00000000 48 83 c4 08 48 8b 80 00000000 c3",
    Relocation(3, TLSLD, "variable", -4),
    Relocation(12, PLT32, "__tls_get_addr", -4),
    Relocation(23, DTPOFF32, "variable"),
)
INITIAL_EXEC = code(
    # mov rax, [rip + …]; mov rax, fs:[rax]; ret
    "48 8b 05 00000000 64 48 8b 00 c3",
    Relocation(3, GOTTPOFF, "variable", -4),
)
LOCAL_EXEC = code(
    # mov rax, fs:[…]; ret
    "64 48 8b 04 25 00000000 c3",
    Relocation(5, TPOFF32, "variable"),
)
DESCRIPTOR = code(
    # lea rax, [rip + …]; call [rax]; mov rax, fs:[rax]; ret
    "48 8d 05 00000000 ff 10 64 48 8b 00 c3",
    Relocation(3, GOTPC32_TLSDESC, "variable", -4),
    Relocation(7, TLSDESC_CALL, "variable"),
)


@pytest.mark.parametrize(
    "body",
    [GENERAL_DYNAMIC, LOCAL_DYNAMIC, INITIAL_EXEC, LOCAL_EXEC, DESCRIPTOR],
    ids=["general-dynamic", "local-dynamic", "initial-exec", "local-exec", "descriptor"],
)
def test_a_thread_local_variable_is_reached_in_every_model(body: Section, link: Link) -> None:
    assert link(thread_local(body)).call("f") == 0x2222


def test_zeroed_thread_local_variables_follow_the_others(link: Link) -> None:
    body = code(LOCAL_EXEC.data, Relocation(5, TPOFF32, "zero"))
    image = link(thread_local(body))
    assert image.call("f") == 0


def test_another_objects_thread_local_variable_is_reached_at_its_offset(
    link: Link, platform: Platform
) -> None:
    owner = link(thread_local(LOCAL_EXEC), name="owner")
    user = TinyObject([INITIAL_EXEC], [F, Symbol("variable", type=TLS)])
    image = link(user, name="user")
    assert image.call("f") == 0x2222
    with pytest.raises(ImageError, match=r"owner0\.o: is in use by user0\.o \(variable\)"):
        platform.namespace.unload(owner)
