"""Conformance of symbolication: from names to addresses and back."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import cached_property

from theseus_kit.capabilities import Capability
from theseus_kit.errors import AlreadyRegisteredError, NotRegisteredError
from theseus_kit.hookspecs import Group, Symbolication
from theseus_kit.testing.conformance.guest_image import GuestImage, line_of
from theseus_kit.testing.conformance.suite import Conformance, clause, needs
from theseus_kit.values.memory import AddressRange, MapRequest
from theseus_kit.values.symbols import RuntimeCode, Symbol

TEXT = AddressRange(0x5000, 0x6000)
"""Where registered run-time code is said to lie: outside of every machine's territory."""


class SymbolicationConformance(Conformance):
    """The group's suite."""

    group = Group.SYMBOLICATION

    @cached_property
    def guest(self) -> GuestImage:
        return GuestImage(self.platform)

    def lookup(self, name: str) -> Symbol | None:
        found: Symbol | None = self.hooks.symbol_lookup(name=name)
        return found

    def symbols(self, address: int) -> Sequence[Symbol]:
        found: Sequence[Symbol] = self.hooks.symbolicate(address=address)
        return found

    def names(self, address: int) -> list[str | None]:
        return [symbol.name for symbol in self.symbols(address)]

    def register(self, code: RuntimeCode) -> None:
        self.hooks.symbols_register(code=code)

    @clause(
        Symbolication.symbol_lookup,
        "Find a symbol of any loaded image by its mangled name; offset is 0",
    )
    def test_an_exported_name_leads_to_its_address(self) -> None:
        for name in ("exported_function", "exported_variable", "_ZN4demo3addEii", "throws"):
            address = self.guest.address(name)
            found = self.lookup(name)
            assert found is not None
            assert (found.address, found.offset, found.name) == (address, 0, name)
            assert found.image in (None, "guest.so")

    @needs(Capability.STATIC_SYMBOLS)
    @clause(Symbolication.symbol_lookup, "Find a symbol of any loaded image")
    def test_a_static_function_s_name_leads_to_its_address(self) -> None:
        address = self.guest.address("local_function")
        found = self.lookup("local_function")
        assert found is not None
        assert (found.address, found.offset) == (address, 0)

    @clause(Symbolication.symbol_lookup, "None if unknown")
    def test_an_unknown_name_is_none(self) -> None:
        assert self.guest.image.base
        for name in (
            "",
            "exported",
            "exported_function_",
            "EXPORTED_FUNCTION",
            "\udcff",
            "a" * 999,
        ):
            assert self.lookup(name) is None

    @clause(Symbolication.symbolicate, "Name an address")
    @clause(Symbol, "Bytes from ``address`` to the address that was asked about")
    def test_every_address_of_a_function_is_named_by_it(self) -> None:
        for name in ("exported_function", "reads", "throws", "omitted_outermost"):
            addresses = self.guest.range(name)
            for address in (addresses[0], addresses[1], addresses[-1]):
                outermost = self.symbols(address)[-1]
                assert (outermost.name, outermost.address) == (name, addresses[0])
                assert outermost.offset == address - addresses[0]

    @clause(Symbolication.symbolicate, "Name an address")
    @clause(Symbol, "First address of what the symbol names")
    def test_the_address_behind_a_function_is_another_one_s(self) -> None:
        end = self.guest.range("inner_cleanup").stop
        assert end == self.guest.address("outer_cleanup")
        assert self.names(end) == ["outer_cleanup"]

    @needs(Capability.STATIC_SYMBOLS)
    @clause(Symbolication.symbolicate, "Name an address")
    def test_addresses_of_a_static_function_are_named_by_it(self) -> None:
        for address in self.guest.range("local_function"):
            (symbol,) = self.symbols(address)
            assert symbol.name == "local_function"

    @clause(Symbolication.symbolicate, "empty if nothing holds it")
    def test_an_address_of_nothing_has_no_symbols(self) -> None:
        page = self.hooks.memory_map(request=MapRequest(4096)).base
        beyond = self.guest.image.range.end + (1 << 30)
        for address in (0, 1, page, beyond, 1 << 47, (1 << 64) - 1):
            assert list(self.symbols(address)) == []

    @clause(Symbol, "Everything but the two addresses is None where it is not known")
    def test_nothing_is_made_up_for_an_address_that_no_symbol_holds(self) -> None:
        section = next(s for s in self.guest.image.sections() if s.name == ".eh_frame")
        for symbol in self.symbols(self.guest.image.base + section.address + 3):
            assert symbol.name in (None, "")
            assert (symbol.file, symbol.line, symbol.column) == (None, None, None)

    @clause(Symbol, "As the symbol table spells it, mangled")
    def test_a_name_is_told_as_the_symbol_table_spells_it(self) -> None:
        name = "_ZN4demo3addEii"
        assert self.names(self.guest.address(name)) == [name]

    @needs(Capability.DEMANGLING)
    @clause(Symbol, "Everything but the two addresses is None where it is not known")
    def test_a_mangled_name_is_told_demangled_too(self) -> None:
        address = self.guest.address("_ZN4demo3addEii")
        for symbol in (self.lookup("_ZN4demo3addEii"), *self.symbols(address)):
            assert symbol is not None
            assert symbol.demangled == "demo::add(int, int)"
        (plain,) = self.symbols(self.guest.address("throws"))
        assert plain.demangled in (None, "throws")

    @needs(Capability.SOURCE_POSITIONS)
    @clause(Symbolication.symbolicate, "Name an address")
    def test_an_address_has_the_file_and_line_of_its_source(self) -> None:
        start = self.guest.address("exported_function")
        (symbol,) = self.symbols(start)
        assert (symbol.file or "").endswith("names.c")
        # Its first instruction is the opening brace's; the call is the line after it.
        first_line = line_of("line: exported_function")
        assert symbol.line in (first_line - 2, first_line - 1, first_line)
        (call,) = self.symbols(start + 1)
        assert call.line == symbol.line
        (addition,) = self.symbols(self.guest.range("exported_function")[-4])
        assert addition.line == first_line

    @needs(Capability.SOURCE_POSITIONS, Capability.INLINED_FUNCTIONS)
    @clause(Symbolication.symbolicate, "innermost inlined function first")
    @clause(Symbol, "One address may have several symbols, innermost first")
    def test_inlined_functions_are_told_innermost_first_each_with_its_line(self) -> None:
        symbols = self.symbols(self.guest.address("reads"))
        names = ["innermost_inlined", "middle_inlined", "reads"]
        assert [symbol.name for symbol in symbols] == names
        assert [symbol.line for symbol in symbols] == [line_of(f"line: {n}") for n in names]

    @clause(Symbolication, "for loaded images")
    def test_an_unloaded_image_s_symbols_go_with_it(self) -> None:
        address = self.guest.address("exported_function")
        assert self.lookup("exported_function") is not None
        assert self.names(address) == ["exported_function"]
        self.platform.namespace.unload(self.guest.image)
        assert self.lookup("exported_function") is None
        assert list(self.symbols(address)) == []

    @clause(Symbolication.symbols_register, "Learn the symbols of run-time code")
    def test_run_time_code_is_named_while_it_is_registered(self) -> None:
        function = Symbol(TEXT.start + 0x100, 0, 0x40, "jitted")
        assert list(self.symbols(TEXT.start + 0x110)) == []
        self.register(RuntimeCode(TEXT, "a JIT's", (function,)))
        symbol = self.symbols(TEXT.start + 0x110)[0]
        assert (symbol.name, symbol.address, symbol.offset) == ("jitted", function.address, 0x10)
        assert self.names(TEXT.start + 0x13F) == ["jitted"]
        assert self.lookup("jitted") == function

    @clause(RuntimeCode, "with what names it")
    def test_run_time_code_that_no_symbol_holds_is_named_by_its_label(self) -> None:
        function = Symbol(TEXT.start + 0x100, 0, 0x40, "jitted")
        self.register(RuntimeCode(TEXT, "a JIT's", (function,)))
        for address in (TEXT.start, TEXT.start + 0x140, TEXT.end - 1):
            (symbol,) = self.symbols(address)
            assert (symbol.name, symbol.address) == ("a JIT's", TEXT.start)
            assert symbol.offset == address - TEXT.start
        assert list(self.symbols(TEXT.end)) == []

    @clause(Symbolication.symbols_unregister, "Forget run-time code by the start of its text")
    def test_unregistered_run_time_code_is_forgotten(self) -> None:
        beside = AddressRange(TEXT.end, TEXT.end + 0x1000)
        function = Symbol(TEXT.start, 0, 0x40, "jitted")
        self.register(RuntimeCode(TEXT, "one", (function,)))
        self.register(RuntimeCode(beside, "beside"))
        self.hooks.symbols_unregister(text_start=TEXT.start)
        assert list(self.symbols(TEXT.start)) == []
        assert self.lookup("jitted") is None
        assert self.names(beside.start) == ["beside"]
        self.register(RuntimeCode(TEXT, "again"))
        assert self.names(TEXT.start) == ["again"]

    @clause(Symbolication.symbols_register, "Raises AlreadyRegisteredError")
    def test_run_time_code_is_registered_once(self) -> None:
        self.register(RuntimeCode(TEXT, "one"))
        for start, end in ((TEXT.start, TEXT.end), (TEXT.end - 1, TEXT.end + 1), (0x4000, 0x7000)):
            with self.refused(AlreadyRegisteredError, errno.EEXIST):
                self.register(RuntimeCode(AddressRange(start, end), "two"))
        assert self.names(TEXT.start) == ["one"]

    @clause(Symbolication.symbols_unregister, "Raises NotRegisteredError")
    def test_unregistering_what_is_not_registered_is_refused(self) -> None:
        self.register(RuntimeCode(TEXT, "one"))
        for start in (TEXT.start + 1, TEXT.start - 1, 0):
            with self.refused(NotRegisteredError, errno.ENOENT):
                self.hooks.symbols_unregister(text_start=start)
        self.hooks.symbols_unregister(text_start=TEXT.start)
        with self.refused(NotRegisteredError, errno.ENOENT):
            self.hooks.symbols_unregister(text_start=TEXT.start)

    @needs(Capability.RUNTIME_ELF)
    @clause(RuntimeCode, "The code's own ELF file where the JIT offers one")
    def test_the_elf_file_of_run_time_code_names_its_addresses(self) -> None:
        section = self.guest.text
        text = AddressRange.of_size(0x10000, section.size)
        self.register(RuntimeCode(text, "a JIT's", elf=self.guest.path.read_bytes()))
        start = text.start + self.guest.entry("throws").offset - section.offset
        symbol = self.symbols(start + 3)[-1]
        assert (symbol.name, symbol.address, symbol.offset) == ("throws", start, 3)

    @clause(Symbolication, "From names to addresses and back")
    def test_the_wasmtime_library_s_own_functions_are_found_and_named(self) -> None:
        library = self.platform.boot().image
        for name in ("wasm_engine_new", "wasmtime_module_new", "wasmtime_func_call"):
            found = self.lookup(name)
            assert found is not None
            assert found.address == library.symbols[name]
            assert self.symbols(found.address + 1)[-1].name == name
