"""Dispatch as Theseus does it: who is asked about an exception, in which order, how often."""

import logging

import pytest

from theseus_kit.values.exceptions import (
    Access,
    ExceptionCategory,
    ExceptionContext,
    Kill,
    KilledByException,
    PageFault,
    Registers,
    Resume,
    category_of_vector,
)

BRIEF_PAUSES = (0x01, 0x03)
HANDLED = [vector for vector in range(32) if category_of_vector(vector) is not None]
PAGE_FAULT = 0x0E


def context_of(vector):
    return ExceptionContext(vector, Registers(rip=0x1234, rsp=0x1F00))


def register(hooks, task, vector, handler):
    hooks.exception_register(task=task, category=category_of_vector(vector), handler=handler)


def dispatch(hooks, task, vector):
    return hooks.exception_dispatch(task=task, context=context_of(vector))


@pytest.mark.parametrize("vector", HANDLED)
def test_a_handler_that_answers_true_resumes_the_task(hooks, task, recorder, vector):
    register(hooks, task, vector, recorder.handler(True))
    assert dispatch(hooks, task, vector) == Resume()
    assert recorder.calls == [("handler", vector)]


@pytest.mark.parametrize("vector", HANDLED)
def test_a_handler_that_answers_false_leads_to_the_default(hooks, task, recorder, vector):
    register(hooks, task, vector, recorder.handler(False))
    default = Resume() if vector in BRIEF_PAUSES else Kill(KilledByException(vector))
    assert dispatch(hooks, task, vector) == default


def test_a_handler_fires_once(hooks, task, recorder):
    register(hooks, task, PAGE_FAULT, recorder.handler(True))
    assert dispatch(hooks, task, PAGE_FAULT) == Resume()
    assert dispatch(hooks, task, PAGE_FAULT) == Kill(KilledByException(PAGE_FAULT))
    assert recorder.calls == [("handler", PAGE_FAULT)]


def test_a_handler_may_register_itself_again_while_it_runs(hooks, task):
    fired = []

    def handle(context):
        fired.append(context.vector)
        register(hooks, task, PAGE_FAULT, handle)
        return True

    register(hooks, task, PAGE_FAULT, handle)
    for _ in range(3):
        assert dispatch(hooks, task, PAGE_FAULT) == Resume()
    assert fired == [PAGE_FAULT] * 3


def test_a_handler_sees_the_very_context_and_its_edits_stay(hooks, task):
    def handle(context):
        context.registers.rip += 3
        return True

    register(hooks, task, PAGE_FAULT, handle)
    context = context_of(PAGE_FAULT)
    hooks.exception_dispatch(task=task, context=context)
    assert context.registers.rip == 0x1237


def test_another_tasks_handler_is_not_asked(hooks, task, other_task, recorder):
    register(hooks, other_task, PAGE_FAULT, recorder.handler(True))
    assert dispatch(hooks, task, PAGE_FAULT) == Kill(KilledByException(PAGE_FAULT))
    assert recorder.calls == []


@pytest.mark.parametrize("vector", BRIEF_PAUSES)
def test_debug_and_breakpoint_just_return(hooks, task, recorder, vector):
    hooks.exception_set_kill_handler(task=task, handler=recorder.kill_handler())
    for category in ExceptionCategory:
        if category is not ExceptionCategory.BREAKPOINT:
            hooks.exception_register(task=task, category=category, handler=recorder.handler(False))
    assert dispatch(hooks, task, vector) == Resume()
    assert recorder.calls == []


@pytest.mark.parametrize("vector", BRIEF_PAUSES)
def test_a_breakpoint_handler_is_asked_once_and_the_kill_handler_never(
    hooks, task, recorder, vector
):
    hooks.exception_set_kill_handler(task=task, handler=recorder.kill_handler())
    register(hooks, task, vector, recorder.handler(True))
    assert [dispatch(hooks, task, vector) for _ in range(2)] == [Resume()] * 2
    assert recorder.calls == [("handler", vector)]


@pytest.mark.parametrize("vector", [0x02, 0x12, 0x14, 0x1D, 0x1E])
def test_a_vector_of_no_category_kills_past_all_handlers(hooks, task, recorder, vector):
    hooks.exception_set_kill_handler(task=task, handler=recorder.kill_handler())
    for category in ExceptionCategory:
        hooks.exception_register(task=task, category=category, handler=recorder.handler(True))
    assert dispatch(hooks, task, vector) == Kill(KilledByException(vector))
    assert recorder.calls == [("kill", vector)]


def test_the_kill_handler_is_told_first_even_if_a_handler_then_resumes(hooks, task, recorder):
    hooks.exception_set_kill_handler(task=task, handler=recorder.kill_handler())
    register(hooks, task, PAGE_FAULT, recorder.handler(True))
    assert dispatch(hooks, task, PAGE_FAULT) == Resume()
    assert recorder.calls == [("kill", PAGE_FAULT), ("handler", PAGE_FAULT)]


def test_the_kill_handler_is_told_once(hooks, task, recorder):
    hooks.exception_set_kill_handler(task=task, handler=recorder.kill_handler())
    dispatch(hooks, task, PAGE_FAULT)
    dispatch(hooks, task, PAGE_FAULT)
    assert recorder.calls == [("kill", PAGE_FAULT)]


def test_setting_a_kill_handler_replaces_the_earlier_one_silently(hooks, task, recorder):
    hooks.exception_set_kill_handler(task=task, handler=recorder.kill_handler("first"))
    hooks.exception_set_kill_handler(task=task, handler=recorder.kill_handler("second"))
    dispatch(hooks, task, PAGE_FAULT)
    assert recorder.calls == [("second", PAGE_FAULT)]


def test_setting_no_kill_handler_removes_it(hooks, task, recorder):
    hooks.exception_set_kill_handler(task=task, handler=recorder.kill_handler())
    hooks.exception_set_kill_handler(task=task, handler=None)
    dispatch(hooks, task, PAGE_FAULT)
    assert recorder.calls == []


def test_a_handlers_python_error_comes_out_and_the_handler_is_spent(hooks, task):
    def broken(context):
        raise ZeroDivisionError("in the handler")

    register(hooks, task, PAGE_FAULT, broken)
    with pytest.raises(ZeroDivisionError, match="in the handler"):
        dispatch(hooks, task, PAGE_FAULT)
    category = category_of_vector(PAGE_FAULT)
    assert hooks.exception_take(task=task, category=category) is None


def test_an_exception_is_logged_with_task_vector_and_address(hooks, task, caplog):
    context = ExceptionContext(
        PAGE_FAULT, Registers(rip=0x1234), 6, PageFault(0xDEAD, Access.WRITE, present=False)
    )
    with caplog.at_level(logging.DEBUG, logger="theseus_kit.signals"):
        hooks.exception_dispatch(task=task, context=context)
    assert caplog.messages == ["task 1 'task 1': Exception 0xE(14) at 0x1234, write of 0xdead"]


def test_nothing_is_logged_where_nobody_listens(hooks, task, caplog):
    with caplog.at_level(logging.INFO, logger="theseus_kit.signals"):
        dispatch(hooks, task, PAGE_FAULT)
    assert caplog.messages == []
