"""Thread-local variables: their module is registered, every way to reach them arrives there."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack

import pytest

from theseus_kit import Image, ImageError, NotRegisteredError, Platform
from theseus_kit.image.loader import TLS_DESCRIPTOR_ASSEMBLY, TLS_DESCRIPTOR_CODE
from theseus_kit.values.linkage import CObject

from .tiny_image import CODE, DATA, TLS, Relocation, Symbol, TinyImage, lay_out

Load = Callable[..., Image]
Word = Callable[[int], int]
DTPMOD64, DTPOFF64, TPOFF64, TPOFF32, TLSDESC = 16, 17, 18, 23, 36
VARIABLE = Symbol("variable", 8, type=TLS)
DT_FLAGS, DF_STATIC_TLS = 30, 16


def with_thread_local(*relocations: Relocation, **image: object) -> TinyImage:
    """A module of 16 initialised and 16 zero bytes; ``variable`` is its second word, 0x2222."""
    tiny = TinyImage(
        data=pack("<QQ", 0x1111, 0x2222) + bytes(64),
        symbols=[VARIABLE],
        relocations=list(relocations),
        tls=(DATA, 16, 32, 8),
    )
    for name, value in image.items():
        setattr(tiny, name, value)
    return tiny


def thread_pointer(platform: Platform) -> int:
    return platform.tasks.current.thread.fs_base


def test_an_image_without_thread_local_variables_has_no_module(load: Load) -> None:
    assert load(TinyImage()).tls_module is None


def test_a_module_and_offset_lead_to_the_initialised_variable(
    load: Load, platform: Platform, word: Word
) -> None:
    image = load(
        with_thread_local(
            Relocation(DATA + 32, DTPMOD64, "variable"),
            Relocation(DATA + 40, DTPOFF64, "variable"),
        )
    )
    module, offset = word(image.base + DATA + 32), word(image.base + DATA + 40)
    assert (module, offset) == (image.tls_module, 8)
    address = platform.hooks.tls_address(task=platform.tasks.current, module=module, offset=offset)
    assert word(address) == 0x2222
    assert word(address + 8) == 0


def test_a_module_relocation_without_symbol_means_the_image_itself(load: Load, word: Word) -> None:
    image = load(with_thread_local(Relocation(DATA + 32, DTPMOD64)))
    assert word(image.base + DATA + 32) == image.tls_module


def test_a_fixed_offset_leads_from_the_thread_pointer_to_the_variable(
    load: Load, platform: Platform, word: Word
) -> None:
    image = load(with_thread_local(Relocation(DATA + 32, TPOFF64, "variable")))
    address = thread_pointer(platform) + word(image.base + DATA + 32) & (1 << 64) - 1
    assert word(address) == 0x2222


def test_a_fixed_offset_of_32_bits_is_signed(load: Load, platform: Platform, word: Word) -> None:
    image = load(with_thread_local(Relocation(DATA + 32, TPOFF32, "variable")))
    written = platform.machine.memory.read(image.base + DATA + 32, 4)
    assert word(thread_pointer(platform) + int.from_bytes(written, "little", signed=True)) == 0x2222


def test_code_reads_a_variable_at_its_fixed_offset(load: Load) -> None:
    # mov rax, [rip + …]; mov rax, fs:[rax]; ret
    code = bytes.fromhex("48 8b 05") + pack("<i", DATA + 32 - CODE - 7)
    code += bytes.fromhex("64 48 8b 00 c3")
    image = load(
        with_thread_local(
            Relocation(DATA + 32, TPOFF64, "variable"),
            code=code,
            symbols=[VARIABLE, Symbol("read_it", CODE)],
        )
    )
    assert image.call("read_it") == 0x2222


def test_code_reads_a_variable_through_a_descriptor(load: Load) -> None:
    # lea rax, [rip + …]; call [rax]; mov rax, fs:[rax]; ret
    code = bytes.fromhex("48 8d 05") + pack("<i", DATA + 32 - CODE - 7)
    code += bytes.fromhex("ff 10 64 48 8b 00 c3")
    image = load(
        with_thread_local(
            Relocation(DATA + 32, TLSDESC, "variable"),
            code=code,
            symbols=[VARIABLE, Symbol("read_it", CODE)],
        )
    )
    assert image.call("read_it") == 0x2222


def test_the_descriptor_function_is_what_its_source_says() -> None:
    import capstone

    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    text = "; ".join(
        f"{mnemonic} {operands}".strip()
        for _, _, mnemonic, operands in disassembler.disasm_lite(TLS_DESCRIPTOR_CODE, 0)
    )
    assert text == TLS_DESCRIPTOR_ASSEMBLY
    assert len(TLS_DESCRIPTOR_CODE) == 5


def test_a_thread_local_pointer_starts_out_relocated(
    load: Load, platform: Platform, word: Word
) -> None:
    image = load(with_thread_local(Relocation(DATA + 8, 8, "", 0x4321)))
    address = platform.hooks.tls_address(
        task=platform.tasks.current, module=image.tls_module, offset=8
    )
    assert word(address) == image.base + 0x4321


def test_a_module_of_an_image_that_says_static_has_a_fixed_offset(
    load: Load, platform: Platform
) -> None:
    image = load(with_thread_local(tags=[(DT_FLAGS, DF_STATIC_TLS)]))
    assert platform.hooks.tls_static_offset(module=image.tls_module) < 0


def test_another_images_variable_is_reached(load: Load, platform: Platform, word: Word) -> None:
    owner = load(with_thread_local(), "owner.so")
    user = load(
        TinyImage(
            symbols=[Symbol("variable", type=TLS)],
            relocations=[
                Relocation(DATA, DTPMOD64, "variable"),
                Relocation(DATA + 8, DTPOFF64, "variable"),
            ],
        ),
        "user.so",
    )
    assert (word(user.base + DATA), word(user.base + DATA + 8)) == (owner.tls_module, 8)
    with pytest.raises(ImageError, match="is in use by"):
        platform.namespace.unload(owner)


def test_a_variable_that_a_plugin_provides_is_the_tasks_own(
    load: Load, platform: Platform, word: Word
) -> None:
    space = platform.namespace
    space.provide("test", CObject("number", (55).to_bytes(8, "little"), thread_local=True))
    image = load(
        TinyImage(
            symbols=[Symbol("number", type=TLS)], relocations=[Relocation(DATA, TPOFF64, "number")]
        )
    )
    address = thread_pointer(platform) + word(image.base + DATA) & (1 << 64) - 1
    assert word(address) == 55
    module = space.thread_local("number")
    task = platform.tasks.current
    assert platform.hooks.tls_address(task=task, module=module, offset=0) == address
    assert space.resolve("number") is None
    assert space.thread_local("strlen") is None


def test_a_fixed_offset_into_a_module_that_has_none_is_refused(
    load: Load, platform: Platform
) -> None:
    load(with_thread_local(), "owner.so")
    user = TinyImage(
        symbols=[Symbol("variable", type=TLS)], relocations=[Relocation(DATA, TPOFF64, "variable")]
    )
    with pytest.raises(ImageError, match="at fixed offsets"):
        load(user, "user.so")
    assert len(platform.namespace.images) == 1


def test_a_variable_that_nobody_defines_is_refused_by_name(load: Load) -> None:
    user = TinyImage(
        symbols=[Symbol("nobodys", type=TLS)], relocations=[Relocation(DATA, DTPMOD64, "nobodys")]
    )
    with pytest.raises(ImageError, match="needs the thread-local variable nobodys"):
        load(user)


def test_a_global_reference_to_a_thread_local_variable_is_refused(load: Load) -> None:
    with pytest.raises(ImageError, match="refers to the thread-local variable variable as to"):
        load(with_thread_local(Relocation(DATA + 32, 1, "variable")))


def test_thread_local_relocations_without_a_segment_are_refused(load: Load) -> None:
    with pytest.raises(ImageError, match="but no thread-local segment"):
        load(TinyImage(relocations=[Relocation(DATA, DTPMOD64)]))


@pytest.mark.parametrize("segment", [(DATA, 64, 32, 8), (DATA, 16, 32, 3)])
def test_a_senseless_thread_local_segment_is_refused(
    load: Load, segment: tuple[int, int, int, int]
) -> None:
    with pytest.raises(ImageError, match="senseless sizes"):
        load(TinyImage(tls=segment))


def test_a_thread_local_segment_outside_the_image_is_refused(load: Load) -> None:
    with pytest.raises(ImageError, match="its thread-local segment at 0x5000000"):
        load(TinyImage(tls=(0x5000000, 16, 32, 8)))


def test_unloading_forgets_the_module(load: Load, platform: Platform) -> None:
    image = load(with_thread_local())
    platform.namespace.unload(image)
    with pytest.raises(NotRegisteredError):
        platform.hooks.tls_remove_module(module=image.tls_module)


def test_a_failure_after_the_module_was_registered_forgets_it(
    load: Load, platform: Platform
) -> None:
    image = load(with_thread_local())
    failing = with_thread_local(Relocation(DATA + 32, DTPMOD64, "nobodys"))
    failing.symbols = [Symbol("nobodys", type=TLS)]
    failing.code = lay_out((CODE, b"\xc3"))
    with pytest.raises(ImageError):
        load(failing)
    assert image.tls_module is not None
    with pytest.raises(NotRegisteredError):
        platform.hooks.tls_remove_module(module=image.tls_module + 1)
