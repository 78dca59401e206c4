"""Providers with one thing wrong, each caught by the conformance test of the clause it breaks."""

import pytest

from theseus_kit.errors import AlreadyRegisteredError, NotRegisteredError
from theseus_kit.hookspecs import hookimpl
from theseus_kit.testing.conformance import SymbolicationConformance, UnwindingConformance
from theseus_kit.testing.conformance.mutants import caught_by, escaped, mutants_in, unproved
from theseus_kit.values.symbols import FrameKind, Symbol
from theseus_kit_backtrace import BacktracePlugin


class SymbolMutant(BacktracePlugin):
    def changed(self, symbol):
        return symbol

    @hookimpl
    def symbolicate(self, address):
        return [self.changed(symbol) for symbol in super().symbolicate(address)]


@caught_by("test_an_exported_name_leads_to_its_address")
class AnswersOffsetsInTheImage(SymbolMutant):
    @hookimpl
    def symbol_lookup(self, name):
        found = super().symbol_lookup(name)
        if found is None or found.image is None:
            return found
        base = next(i.base for i in self.services.namespace.images if i.name == found.image)
        return found._replace(address=found.address - base)


@caught_by("test_a_static_function_s_name_leads_to_its_address")
class FindsExportedNamesOnly(SymbolMutant):
    @hookimpl
    def symbol_lookup(self, name):
        images = self.services.namespace.images
        return super().symbol_lookup(name) if any(name in i.symbols for i in images) else None


@caught_by("test_an_unknown_name_is_none")
class FindsNamesWithoutRegardToCase(SymbolMutant):
    @hookimpl
    def symbol_lookup(self, name):
        return super().symbol_lookup(name) or super().symbol_lookup(name.lower())


@caught_by("test_every_address_of_a_function_is_named_by_it")
class CountsOffsetsFromOne(SymbolMutant):
    def changed(self, symbol):
        return symbol._replace(offset=symbol.offset + 1)


@caught_by("test_the_address_behind_a_function_is_another_one_s")
class LooksTheByteBeforeUp(SymbolMutant):
    @hookimpl
    def symbolicate(self, address):
        return super().symbolicate(max(0, address - 1))


@caught_by("test_addresses_of_a_static_function_are_named_by_it")
class NamesByTheNearestExportedFunction(SymbolMutant):
    @hookimpl
    def symbolicate(self, address):
        image = self.services.namespace.image_at(address)
        if image is None:
            return super().symbolicate(address)
        below = max((at, name) for name, at in image.symbols.items() if at <= address)
        return [Symbol(below[0], address - below[0], name=below[1], image=image.name)]


@caught_by("test_an_address_of_nothing_has_no_symbols")
class NamesEverything(SymbolMutant):
    @hookimpl
    def symbolicate(self, address):
        return super().symbolicate(address) or [Symbol(address, 0, name="??")]


@caught_by("test_nothing_is_made_up_for_an_address_that_no_symbol_holds")
class NamesSectionsAsIfTheyWereFunctions(SymbolMutant):
    def changed(self, symbol):
        return symbol._replace(name=symbol.name or symbol.section)


@caught_by("test_a_name_is_told_as_the_symbol_table_spells_it")
class TellsDemangledNamesForNames(SymbolMutant):
    def changed(self, symbol):
        return symbol._replace(name=symbol.demangled or symbol.name)


@caught_by("test_a_mangled_name_is_told_demangled_too")
class DemanglesNothing(SymbolMutant):
    def changed(self, symbol):
        return symbol._replace(demangled=None)


@caught_by("test_an_address_has_the_file_and_line_of_its_source")
class CountsLinesFromZero(SymbolMutant):
    def changed(self, symbol):
        return symbol._replace(line=None if symbol.line is None else symbol.line - 1)


@caught_by("test_inlined_functions_are_told_innermost_first_each_with_its_line")
class TellsTheOutermostFirst(SymbolMutant):
    @hookimpl
    def symbolicate(self, address):
        return super().symbolicate(address)[::-1]


@caught_by("test_an_unloaded_image_s_symbols_go_with_it")
class RemembersUnloadedImages(SymbolMutant):
    def __init__(self, services, options):
        super().__init__(services, options)
        self.known = {}

    @hookimpl
    def symbol_lookup(self, name):
        found = super().symbol_lookup(name) or self.known.get(name)
        self.known[name] = found
        return found


@caught_by("test_run_time_code_is_named_while_it_is_registered")
class NamesRunTimeCodeByItsLabelOnly(SymbolMutant):
    @hookimpl
    def symbols_register(self, code):
        super().symbols_register(code._replace(symbols=()))


@caught_by("test_run_time_code_that_no_symbol_holds_is_named_by_its_label")
class HasNoLabels(SymbolMutant):
    @hookimpl
    def symbols_register(self, code):
        super().symbols_register(code._replace(label=""))


@caught_by("test_unregistered_run_time_code_is_forgotten")
class ForgetsAllRunTimeCode(SymbolMutant):
    @hookimpl
    def symbols_unregister(self, text_start):
        super().symbols_unregister(text_start)
        self._symbolizer._runtime_code.clear()


@caught_by("test_run_time_code_is_registered_once")
class LooksAtStartsOnly(SymbolMutant):
    @hookimpl
    def symbols_register(self, code):
        try:
            super().symbols_register(code)
        except AlreadyRegisteredError:
            if any(known.text.start == code.text.start for known in self._symbolizer._runtime_code):
                raise


@caught_by("test_unregistering_what_is_not_registered_is_refused")
class ForgetsNothingSilently(SymbolMutant):
    @hookimpl
    def symbols_unregister(self, text_start):
        if any(code.text.start == text_start for code in self._symbolizer._runtime_code):
            super().symbols_unregister(text_start)


@caught_by("test_the_elf_file_of_run_time_code_names_its_addresses")
class DoesNotReadElfFiles(SymbolMutant):
    @hookimpl
    def symbols_register(self, code):
        super().symbols_register(code._replace(elf=None))


@caught_by("test_the_wasmtime_library_s_own_functions_are_found_and_named")
class KnowsSmallImagesOnly(SymbolMutant):
    @hookimpl
    def symbol_lookup(self, name):
        found = super().symbol_lookup(name)
        return None if found is not None and found.image != "guest.so" else found


class FrameMutant(BacktracePlugin):
    def changed(self, frames):
        return frames

    @hookimpl
    def unwind_frames(self, registers, stack, is_exact):
        return self.changed(super().unwind_frames(registers, stack, is_exact))


@caught_by("test_every_caller_with_a_frame_pointer_is_seen_innermost_first")
class TellsTheOutermostFrameFirst(FrameMutant):
    def changed(self, frames):
        return iter(list(frames)[::-1])


@caught_by("test_callers_without_a_frame_pointer_are_seen_too")
class FollowsFramePointersOnly(FrameMutant):
    @hookimpl
    def unwind_frames(self, registers, stack, is_exact):
        from theseus_kit_backtrace.frame_pointers import walk

        return walk(self.services.machine, registers.copy(), stack, is_exact, 64)


@caught_by("test_a_fault_s_own_frame_is_exact_and_its_callers_are_not")
class TakesEveryFrameForACall(FrameMutant):
    def changed(self, frames):
        return (frame._replace(is_exact=False) for frame in frames)


@caught_by("test_the_first_frame_is_the_register_state_itself")
class LeavesOutTheInnermostFrame(FrameMutant):
    def changed(self, frames):
        next(frames, None)
        return frames


@caught_by("test_registers_that_change_during_a_walk_do_not_disturb_it")
class ReadsTheLiveRegistersLate(FrameMutant):
    @hookimpl
    def unwind_frames(self, registers, stack, is_exact):
        yield from super().unwind_frames(registers, stack, is_exact)


@caught_by("test_stack_pointers_rise_and_each_cfa_is_the_caller_s_stack_pointer")
class TakesTheSavedLinkForTheCfa(FrameMutant):
    def changed(self, frames):
        for frame in frames:
            cfa = frame.canonical_frame_address
            yield frame._replace(canonical_frame_address=None if cfa is None else cfa - 16)


@caught_by("test_a_walk_ends_where_the_guest_was_called_from")
class GoesOnBeyondTheStack(FrameMutant):
    @hookimpl
    def unwind_frames(self, registers, stack, is_exact):
        frames = list(super().unwind_frames(registers, stack, is_exact))
        yield from frames
        yield frames[-1]._replace(stack_pointer=stack.end + 4096)


@caught_by("test_a_walk_of_rubbish_ends_and_raises_nothing")
class ReadsWhateverTheStackSays(FrameMutant):
    @hookimpl
    def unwind_frames(self, registers, stack, is_exact):
        self.services.machine.memory.read_u64(registers.rbp)
        return super().unwind_frames(registers, stack, is_exact)


@caught_by("test_a_chain_that_leads_back_to_itself_ends")
class FollowsAnyChain(FrameMutant):
    @hookimpl
    def unwind_frames(self, registers, stack, is_exact):
        (first, *others) = super().unwind_frames(registers, stack, is_exact)
        yield first
        yield from others
        memory = self.services.machine.memory
        pointer = registers.rbp
        while pointer in stack:
            yield first._replace(stack_pointer=pointer)
            pointer = memory.read_u64(pointer)


@caught_by("test_frames_tell_what_code_they_are_of")
class TakesAllForWebAssembly(FrameMutant):
    def changed(self, frames):
        return (frame._replace(kind=FrameKind.WASM) for frame in frames)


@caught_by("test_webassembly_s_frames_are_found_between_the_runtime_s")
class TakesNothingForWebAssembly(FrameMutant):
    def changed(self, frames):
        for frame in frames:
            is_wasm = frame.kind is FrameKind.WASM
            yield frame._replace(kind=FrameKind.GUEST) if is_wasm else frame


@caught_by("test_wasmtime_registers_what_it_compiled_runs_it_and_traps")
class OffersNoCFunctions(FrameMutant):
    @hookimpl
    def c_symbols(self):
        return []


@caught_by("test_run_time_code_is_walked_through_while_its_table_is_registered")
class NeverForgetsATable(FrameMutant):
    @hookimpl
    def unwind_unregister_tables(self, frame_table):
        self.kept = frame_table


@caught_by("test_a_table_is_registered_once")
class RegistersTablesAgain(FrameMutant):
    @hookimpl
    def unwind_register_tables(self, frame_table):
        try:
            super().unwind_register_tables(frame_table)
        except AlreadyRegisteredError:
            self.again = frame_table


@caught_by("test_a_table_that_is_not_registered_cannot_be_forgotten")
class ForgetsUnknownTables(FrameMutant):
    @hookimpl
    def unwind_unregister_tables(self, frame_table):
        try:
            super().unwind_unregister_tables(frame_table)
        except NotRegisteredError:
            self.unknown = frame_table


@caught_by("test_a_kill_that_is_waited_for_runs_cleanups_innermost_first")
class CleansNothingUp(FrameMutant):
    @hookimpl
    def unwind_resume(self, registers, is_exact, is_requested):
        return None


@caught_by("test_each_guest_call_that_a_kill_leaves_is_cleaned_up_once")
class CleansTheInnermostCallUpOnly(FrameMutant):
    @hookimpl
    def unwind_resume(self, registers, is_exact, is_requested):
        self.count = getattr(self, "count", 0) + 1
        return super().unwind_resume(registers, is_exact, is_requested) if self.count == 1 else None


@caught_by("test_nothing_is_cleaned_up_where_a_call_returns")
class CleansUpAfterEveryCall(FrameMutant):
    """Its C functions run landing pads where their bodies return, as if they had been killed."""

    @hookimpl(wrapper=True)
    def image_loaded(self, image):
        answer = yield
        self.services.machine.memory.write_u32(image.symbols["count"], 1)
        return answer


@caught_by("test_an_exception_passes_through_python_to_the_guest_s_handler")
class LetsExceptionsGoOnForEver(FrameMutant):
    @hookimpl
    def unwind_continue(self, unwinding, registers):
        raise unwinding


@caught_by("test_an_exception_goes_on_through_several_python_functions")
class TakesUpTheInnermostOnly(FrameMutant):
    @hookimpl
    def unwind_continue(self, unwinding, registers):
        self.count = getattr(self, "count", 0) + 1
        if self.count > 1:
            raise unwinding
        return super().unwind_continue(unwinding, registers)


MUTANTS = mutants_in(globals())


@pytest.mark.parametrize(
    ("mutant", "test"), MUTANTS, ids=[mutant.__name__ for mutant, _ in MUTANTS]
)
def test_a_wrong_provider_is_caught(mutant, test):
    assert escaped(mutant, test) == ""


@pytest.mark.parametrize("suite", [SymbolicationConformance, UnwindingConformance])
def test_every_test_of_the_suites_catches_a_wrong_provider(suite):
    assert unproved(suite, MUTANTS) == []
