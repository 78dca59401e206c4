"""Conformance of exception registration: slots, kill handlers, and who is asked in which order.

Whether a handler stays after it was asked is the provider's choice: Theseus's fire once, POSIX's
stay. Nothing here depends on it.
"""

from __future__ import annotations

import errno
from typing import Any

from theseus_kit.capabilities import Capability
from theseus_kit.errors import AlreadyRegisteredError, GuestKilled
from theseus_kit.hookspecs import ExceptionRegistration, Group
from theseus_kit.marks import hookimpl
from theseus_kit.plugin import Plugin, PluginDescription
from theseus_kit.task import Task
from theseus_kit.testing.conformance.suite import Conformance, clause, needs
from theseus_kit.values.exceptions import (
    VECTOR_BREAKPOINT,
    VECTOR_DEBUG,
    VECTOR_DIVIDE_ERROR,
    VECTOR_INVALID_OPCODE,
    VECTOR_PAGE_FAULT,
    ExceptionCategory,
    ExceptionContext,
    ExceptionHandler,
    Kill,
    KilledByException,
    KillReason,
    Registers,
    Resume,
    category_of_vector,
)
from theseus_kit.values.memory import AtAddress, MapRequest, Protection

UD2_CODE = bytes.fromhex("b807000000 0f0b c3")
UD2 = """
    mov eax, 7
    ud2
    ret
"""
LOAD_CODE = bytes.fromhex("488b07 c3")
LOAD = """
    mov rax, qword ptr [rdi]
    ret
"""
NO_CATEGORY = (0x02, 0x09, 0x12, 0x14)
"""Vectors that no task may handle: NMI, coprocessor overrun, machine check, virtualisation."""
DEADLY = [
    vector
    for vector in range(32)
    if category_of_vector(vector) and vector not in (VECTOR_DEBUG, VECTOR_BREAKPOINT)
]


def context_of(vector: int) -> ExceptionContext:
    return ExceptionContext(vector, Registers(rip=0x1234, rsp=0x1F00))


def refuse(context: ExceptionContext) -> bool:
    return False


class EarlyRegistrar(Plugin):
    """Registers a handler as soon as it hears of a task, before the provider may have."""

    description = PluginDescription("early-registrar", "1")

    @hookimpl
    def task_started(self, task: Task) -> None:
        self.services.hooks.exception_register(
            task=task, category=ExceptionCategory.BUS_ERROR, handler=refuse
        )


class ExceptionRegistrationConformance(Conformance):
    """The group's suite."""

    group = Group.EXCEPTION_REGISTRATION

    def register(
        self, category: ExceptionCategory, handler: ExceptionHandler, task: Task | None = None
    ) -> None:
        task = task or self.task
        self.hooks.exception_register(task=task, category=category, handler=handler)

    def take(self, category: ExceptionCategory, task: Task | None = None) -> Any:
        return self.hooks.exception_take(task=task or self.task, category=category)

    def dispatch(self, vector: int, task: Task | None = None) -> Any:
        context = context_of(vector)
        return self.hooks.exception_dispatch(task=task or self.task, context=context)

    def empty_slots(self) -> None:
        """Take out what the platform itself has registered."""
        for category in ExceptionCategory:
            self.take(category)

    @clause(ExceptionRegistration.exception_register, "Fill an empty slot")
    @clause(ExceptionRegistration.exception_take, "Empty a slot and return what was in it")
    def test_what_is_registered_is_what_is_taken(self) -> None:
        self.empty_slots()
        handlers = {category: (lambda c, n=category: bool(n)) for category in ExceptionCategory}
        for category, handler in handlers.items():
            self.register(category, handler)
        for category in ExceptionCategory:
            assert self.take(category) is handlers[category]

    @clause(ExceptionRegistration.exception_take, "None if it was empty")
    def test_an_empty_slot_gives_none(self) -> None:
        self.empty_slots()
        for category in ExceptionCategory:
            assert self.take(category) is None
            self.register(category, refuse)
            self.take(category)
            assert self.take(category) is None

    @clause(
        ExceptionRegistration.exception_register,
        "Raises AlreadyRegisteredError, and the old handler stays",
    )
    def test_a_taken_slot_is_refused_and_keeps_its_handler(self) -> None:
        self.empty_slots()
        self.register(ExceptionCategory.INVALID_ADDRESS, refuse)
        with self.refused(AlreadyRegisteredError, errno.EEXIST):
            self.register(ExceptionCategory.INVALID_ADDRESS, lambda context: True)
        assert self.take(ExceptionCategory.INVALID_ADDRESS) is refuse

    @clause(ExceptionRegistration, "one slot per task and category")
    def test_each_task_has_slots_of_its_own(self) -> None:
        self.empty_slots()
        second = self.new_task()
        asked: list[str] = []
        for name, task in (("first", self.task), ("second", second)):

            def handler(context: ExceptionContext, name: str = name) -> bool:
                asked.append(name)
                return True

            self.register(ExceptionCategory.INVALID_ADDRESS, handler, task)
        assert self.dispatch(VECTOR_PAGE_FAULT, second) == Resume()
        assert asked == ["second"]

    @clause(ExceptionRegistration.exception_register, "Fill an empty slot")
    def test_another_plugin_may_register_before_the_provider_hears_of_the_task(self) -> None:
        self.beside = (EarlyRegistrar,)
        assert self.take(ExceptionCategory.BUS_ERROR) is refuse
        assert self.take(ExceptionCategory.BUS_ERROR, self.new_task()) is refuse

    @clause(ExceptionRegistration.exception_dispatch, "then resume or kill")
    def test_a_handler_that_answers_true_resumes_the_task(self) -> None:
        for vector in range(32):
            category = category_of_vector(vector)
            if category is not None:
                self.empty_slots()
                self.register(category, lambda context: True)
                assert self.dispatch(vector) == Resume()

    @clause(ExceptionRegistration.exception_dispatch, "then resume or kill")
    def test_a_handler_that_answers_false_leads_to_the_kill(self) -> None:
        for vector in DEADLY:
            self.empty_slots()
            for category in ExceptionCategory:
                self.register(category, refuse)
            assert self.dispatch(vector) == Kill(KilledByException(vector))

    @clause(ExceptionRegistration.exception_dispatch, "Answer a CPU exception")
    def test_where_nobody_is_registered_the_task_is_killed(self) -> None:
        self.empty_slots()
        for vector in (*DEADLY, *NO_CATEGORY):
            assert self.dispatch(vector) == Kill(KilledByException(vector))

    @clause(ExceptionRegistration, "one slot per task and category")
    def test_just_the_handler_of_the_exception_s_category_is_asked(self) -> None:
        for vector in DEADLY:
            asked: list[ExceptionCategory] = []
            self.empty_slots()
            for category in ExceptionCategory:

                def handler(
                    context: ExceptionContext,
                    category: ExceptionCategory = category,
                    asked: list[ExceptionCategory] = asked,
                ) -> bool:
                    asked.append(category)
                    return True

                self.register(category, handler)
            self.dispatch(vector)
            assert asked == [category_of_vector(vector)]

    @clause(category_of_vector, "None for those that no task may handle")
    def test_a_vector_of_no_category_kills_past_all_handlers(self) -> None:
        self.empty_slots()
        for category in ExceptionCategory:
            self.register(category, lambda context: True)
        for vector in NO_CATEGORY:
            assert self.dispatch(vector) == Kill(KilledByException(vector))

    @clause(ExceptionContext, "what a handler writes there is what the task resumes with")
    def test_a_handler_gets_the_very_context(self) -> None:
        self.empty_slots()
        seen: list[ExceptionContext] = []

        def handler(context: ExceptionContext) -> bool:
            seen.append(context)
            context.registers.rip += 2
            return True

        self.register(ExceptionCategory.INVALID_ADDRESS, handler)
        context = context_of(VECTOR_PAGE_FAULT)
        self.hooks.exception_dispatch(task=self.task, context=context)
        assert seen == [context]
        assert context.registers.rip == 0x1236

    @clause(ExceptionRegistration.exception_take, "Empty a slot")
    def test_a_handler_may_take_its_slot_and_register_again_while_it_runs(self) -> None:
        self.empty_slots()
        fired: list[int] = []

        def handler(context: ExceptionContext) -> bool:
            fired.append(context.vector)
            self.take(ExceptionCategory.ARITHMETIC_ERROR)
            self.register(ExceptionCategory.ARITHMETIC_ERROR, handler)
            return True

        self.register(ExceptionCategory.ARITHMETIC_ERROR, handler)
        for _ in range(3):
            assert self.dispatch(VECTOR_DIVIDE_ERROR) == Resume()
        assert fired == [VECTOR_DIVIDE_ERROR] * 3

    @clause(ExceptionRegistration.exception_dispatch, "run the task's handlers in order")
    def test_the_kill_handler_is_told_before_a_kill_of_which_task_and_why(self) -> None:
        self.empty_slots()
        told: list[tuple[Task, KillReason]] = []
        self.hooks.exception_set_kill_handler(
            task=self.task, handler=lambda task, reason: told.append((task, reason))
        )
        self.dispatch(VECTOR_PAGE_FAULT)
        assert told == [(self.task, KilledByException(VECTOR_PAGE_FAULT))]

    @clause(
        ExceptionRegistration.exception_set_kill_handler,
        "Set the task's kill handler, silently replacing an earlier one",
    )
    def test_a_kill_handler_replaces_an_earlier_one(self) -> None:
        self.empty_slots()
        told: list[str] = []
        for name in ("first", "second"):
            self.hooks.exception_set_kill_handler(
                task=self.task, handler=lambda task, reason, name=name: told.append(name)
            )
        self.dispatch(VECTOR_PAGE_FAULT)
        assert told == ["second"]

    @clause(ExceptionRegistration.exception_set_kill_handler, "None removes it")
    def test_a_kill_handler_can_be_removed(self) -> None:
        self.empty_slots()
        told: list[KillReason] = []
        self.hooks.exception_set_kill_handler(
            task=self.task, handler=lambda task, reason: told.append(reason)
        )
        self.hooks.exception_set_kill_handler(task=self.task, handler=None)
        assert self.dispatch(VECTOR_PAGE_FAULT) == Kill(KilledByException(VECTOR_PAGE_FAULT))
        assert told == []

    @needs(Capability.KILL_HANDLER_TAKING)
    @clause(
        ExceptionRegistration.exception_take_kill_handler,
        "Take the task's kill handler away and return it, None if it has none",
    )
    def test_a_kill_handler_is_taken_once(self) -> None:
        def told(task: Task, reason: KillReason) -> None:
            raise AssertionError("a kill handler that was taken is told")

        assert self.hooks.exception_take_kill_handler(task=self.task) is None
        self.hooks.exception_set_kill_handler(task=self.task, handler=told)
        assert self.hooks.exception_take_kill_handler(task=self.new_task()) is None
        assert self.hooks.exception_take_kill_handler(task=self.task) is told
        assert self.hooks.exception_take_kill_handler(task=self.task) is None
        self.empty_slots()
        self.dispatch(VECTOR_PAGE_FAULT)

    @clause(Resume, "Go on at the context's registers, edited or not")
    def test_guest_code_goes_on_where_a_handler_sends_it(self) -> None:
        self.empty_slots()
        code = self.machine.place_code(UD2_CODE, "ud2")

        def skip(context: ExceptionContext) -> bool:
            assert context.vector == VECTOR_INVALID_OPCODE
            assert context.instruction_pointer == code + 5
            context.registers.rip += 2
            context.registers.rax += 35
            return True

        self.register(ExceptionCategory.ILLEGAL_INSTRUCTION, skip)
        assert self.machine.call(code) == 42

    @clause(Resume, "Go on at the context's registers, edited or not")
    def test_guest_code_does_an_access_again_that_a_handler_made_possible(self) -> None:
        self.empty_slots()
        code = self.machine.place_code(LOAD_CODE, "load")
        page = self.hooks.memory_map(request=MapRequest(4096, Protection.NONE)).base

        def commit(context: ExceptionContext) -> bool:
            assert context.page_fault is not None
            assert context.page_fault.accessed_address == page + 8
            place = AtAddress(page, replace=True)
            self.hooks.memory_map(request=MapRequest(4096, placement=place))
            self.memory.write_u64(page + 8, 42)
            return True

        self.register(ExceptionCategory.INVALID_ADDRESS, commit)
        assert self.machine.call(code, (page + 8,)) == 42

    @clause(Kill, "End the task, for this reason")
    def test_guest_code_that_nobody_handles_is_killed_for_its_vector(self) -> None:
        self.empty_slots()
        self.register(ExceptionCategory.INVALID_ADDRESS, lambda context: True)
        code = self.machine.place_code(UD2_CODE, "ud2")
        killed = self.raised(GuestKilled, self.machine.call, code)
        assert killed.reason == KilledByException(VECTOR_INVALID_OPCODE)
        assert killed.context is not None
        assert killed.context.instruction_pointer == code + 5

    @clause(ExceptionRegistration.exception_dispatch, "run the task's handlers in order")
    def test_a_handler_s_own_error_ends_the_guest_s_call_as_itself(self) -> None:
        self.empty_slots()

        def broken(context: ExceptionContext) -> bool:
            raise ZeroDivisionError("in the handler")

        self.register(ExceptionCategory.ILLEGAL_INSTRUCTION, broken)
        code = self.machine.place_code(UD2_CODE, "ud2")
        assert str(self.raised(ZeroDivisionError, self.machine.call, code)) == "in the handler"

    @clause(ExceptionRegistration, "Handlers of CPU exceptions")
    def test_wasmtime_traps_again_and_again(self) -> None:
        wasmtime = self.platform.wasmtime
        store = wasmtime.Store()
        module = wasmtime.Module(store.engine, TRAPPING)
        exports = wasmtime.Instance(store, module, []).exports(store)
        for _ in range(3):
            trap = self.raised(wasmtime.Trap, exports["unreachable"], store)
            assert trap.trap_code is wasmtime.TrapCode.UNREACHABLE
            trap = self.raised(wasmtime.Trap, exports["load"], store, 1 << 20)
            assert trap.trap_code is wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS
            trap = self.raised(wasmtime.Trap, exports["divide"], store, 1, 0)
            assert trap.trap_code is wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO
            assert exports["divide"](store, 84, 2) == 42


TRAPPING = """
(module
  (memory 1)
  (func (export "unreachable") unreachable)
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "divide") (param i32 i32) (result i32)
    (i32.div_s (local.get 0) (local.get 1))))
"""
