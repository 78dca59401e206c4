"""Providers with one thing wrong, each caught by the conformance test of the clause it breaks."""

import pytest

from theseus_kit.errors import InvalidParameterError
from theseus_kit.hookspecs import hookimpl
from theseus_kit.testing.conformance import ExceptionRegistrationConformance
from theseus_kit.testing.conformance.mutants import caught_by, escaped, mutants_in, unproved
from theseus_kit.values.exceptions import (
    ExceptionCategory,
    ExceptionContext,
    Kill,
    KilledByException,
    KillRequested,
    Resume,
    category_of_vector,
)
from theseus_kit_signals import PersistentSignalsPlugin, SignalsPlugin

INVALID_ADDRESS = ExceptionCategory.INVALID_ADDRESS


@caught_by("test_what_is_registered_is_what_is_taken")
class GivesTheFirstHandlerForEach(SignalsPlugin):
    @hookimpl
    def exception_take(self, task, category):
        found = super().exception_take(task, category)
        self.first = getattr(self, "first", None) or found
        return self.first if found else None


@caught_by("test_an_empty_slot_gives_none")
class LeavesTakenHandlersInTheirSlots(SignalsPlugin):
    @hookimpl
    def exception_take(self, task, category):
        found = super().exception_take(task, category)
        if found is not None and category is ExceptionCategory.BREAKPOINT:
            super().exception_register(task, category, found)
        return found


@caught_by("test_a_taken_slot_is_refused_and_keeps_its_handler")
class ReplacesHandlersSilently(SignalsPlugin):
    @hookimpl
    def exception_register(self, task, category, handler):
        super().exception_take(task, category)
        super().exception_register(task, category, handler)


@caught_by("test_each_task_has_slots_of_its_own")
class KeepsOneSetOfSlotsForAll(SignalsPlugin):
    def _handlers_of(self, task):
        handlers = super()._handlers_of(next(iter(self._tasks), task))
        self._tasks[task] = handlers
        return handlers

    @hookimpl
    def exception_register(self, task, category, handler):
        if self._handlers_of(task).slots[category] is None:
            super().exception_register(task, category, handler)


@caught_by("test_another_plugin_may_register_before_the_provider_hears_of_the_task")
class WantsToHearOfTheTaskFirst(SignalsPlugin):
    @hookimpl(trylast=True)
    def task_started(self, task):
        self._tasks.pop(task, None)
        super()._handlers_of(task)


@caught_by("test_a_handler_that_answers_true_resumes_the_task")
class KillsAllTheSame(SignalsPlugin):
    """As the sources of Theseus do, which log what the handler answered."""

    @hookimpl
    def exception_dispatch(self, task, context):
        super().exception_dispatch(task, context)
        return Kill(KilledByException(context.vector))


@caught_by("test_a_handler_that_answers_false_leads_to_the_kill")
class TakesAnyAnswerForYes(SignalsPlugin):
    @hookimpl
    def exception_dispatch(self, task, context):
        handler = super().exception_take(task, category_of_vector(context.vector) or 0)
        if handler is None:
            return Kill(KilledByException(context.vector))
        handler(context)
        return Resume()


@caught_by("test_where_nobody_is_registered_the_task_is_killed")
class KillsForNoReason(SignalsPlugin):
    @hookimpl
    def exception_dispatch(self, task, context):
        outcome = super().exception_dispatch(task, context)
        return Kill(KillRequested()) if isinstance(outcome, Kill) else outcome


@caught_by("test_just_the_handler_of_the_exception_s_category_is_asked")
class TakesAlignmentForAnAddress(PersistentSignalsPlugin):
    @hookimpl
    def exception_dispatch(self, task, context):
        if context.category is ExceptionCategory.BUS_ERROR:
            context = ExceptionContext(0x0E, context.registers)
        return super().exception_dispatch(task, context)


@caught_by("test_a_vector_of_no_category_kills_past_all_handlers")
class AsksAnybodyAboutStrangeVectors(SignalsPlugin):
    @hookimpl
    def exception_dispatch(self, task, context):
        if context.category is None:
            handler = super().exception_take(task, INVALID_ADDRESS)
            return Resume() if handler else Kill(KilledByException(context.vector))
        return super().exception_dispatch(task, context)


@caught_by("test_a_handler_gets_the_very_context")
class HandsOutACopyOfTheContext(SignalsPlugin):
    @hookimpl
    def exception_dispatch(self, task, context):
        copy = ExceptionContext(
            context.vector, context.registers.copy(), context.error_code, context.page_fault
        )
        return super().exception_dispatch(task, copy)


@caught_by("test_a_handler_may_take_its_slot_and_register_again_while_it_runs")
class EmptiesTheSlotAfterTheHandler(SignalsPlugin):
    @hookimpl
    def exception_dispatch(self, task, context):
        outcome = super().exception_dispatch(task, context)
        if context.category is ExceptionCategory.ARITHMETIC_ERROR:
            super().exception_take(task, context.category)
        return outcome


@caught_by("test_the_kill_handler_is_told_before_a_kill_of_which_task_and_why")
class TellsNobodyOfAKill(SignalsPlugin):
    @hookimpl
    def exception_dispatch(self, task, context):
        super().exception_take_kill_handler(task)
        return super().exception_dispatch(task, context)


@caught_by("test_a_kill_handler_replaces_an_earlier_one")
class KeepsTheFirstKillHandler(SignalsPlugin):
    @hookimpl
    def exception_set_kill_handler(self, task, handler):
        super().exception_set_kill_handler(task, self._handlers_of(task).kill or handler)


@caught_by("test_a_kill_handler_can_be_removed")
class NeverRemovesAKillHandler(SignalsPlugin):
    @hookimpl
    def exception_set_kill_handler(self, task, handler):
        if handler is not None:
            super().exception_set_kill_handler(task, handler)


@caught_by("test_a_kill_handler_is_taken_once")
class LeavesATakenKillHandler(SignalsPlugin):
    @hookimpl
    def exception_take_kill_handler(self, task):
        return self._handlers_of(task).kill


@caught_by("test_guest_code_goes_on_where_a_handler_sends_it")
class UndoesWhatTheHandlerWrote(SignalsPlugin):
    @hookimpl
    def exception_dispatch(self, task, context):
        rax = context.registers.rax
        outcome = super().exception_dispatch(task, context)
        context.registers.rax = rax
        return outcome


@caught_by("test_guest_code_does_an_access_again_that_a_handler_made_possible")
class SkipsTheInstruction(SignalsPlugin):
    @hookimpl
    def exception_dispatch(self, task, context):
        outcome = super().exception_dispatch(task, context)
        if context.page_fault is not None:
            context.registers.rip += 3
        return outcome


@caught_by("test_guest_code_that_nobody_handles_is_killed_for_its_vector")
class SaysPageFaultForAll(SignalsPlugin):
    @hookimpl
    def exception_dispatch(self, task, context):
        outcome = super().exception_dispatch(task, context)
        return Kill(KilledByException(0x0E)) if isinstance(outcome, Kill) else outcome


@caught_by("test_a_handler_s_own_error_ends_the_guest_s_call_as_itself")
class SwallowsHandlersErrors(SignalsPlugin):
    @hookimpl
    def exception_dispatch(self, task, context):
        try:
            return super().exception_dispatch(task, context)
        except ArithmeticError as error:
            raise InvalidParameterError(str(error)) from error


@caught_by("test_wasmtime_traps_again_and_again")
class AsksEachCategoryThreeTimesOnly(PersistentSignalsPlugin):
    @hookimpl
    def exception_dispatch(self, task, context):
        self.count = getattr(self, "count", 0) + 1
        if self.count > 3:
            return Kill(KilledByException(context.vector))
        return super().exception_dispatch(task, context)


MUTANTS = mutants_in(globals())


@pytest.mark.parametrize(
    ("mutant", "test"), MUTANTS, ids=[mutant.__name__ for mutant, _ in MUTANTS]
)
def test_a_wrong_provider_is_caught(mutant, test):
    assert escaped(mutant, test) == ""


def test_every_test_of_the_suite_catches_a_wrong_provider():
    assert unproved(ExceptionRegistrationConformance, MUTANTS) == []
