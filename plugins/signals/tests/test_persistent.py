"""Dispatch with handlers that stay, as POSIX has them."""

import pytest

from theseus_kit.values.exceptions import (
    ExceptionCategory,
    ExceptionContext,
    Kill,
    KilledByException,
    Registers,
    Resume,
    category_of_vector,
)

HANDLED = [vector for vector in range(32) if category_of_vector(vector) is not None]
PAGE_FAULT = 0x0E


def register(hooks, task, vector, handler):
    hooks.exception_register(task=task, category=category_of_vector(vector), handler=handler)


def dispatch(hooks, task, vector):
    context = ExceptionContext(vector, Registers(rip=0x1234, rsp=0x1F00))
    return hooks.exception_dispatch(task=task, context=context)


@pytest.mark.parametrize("vector", HANDLED)
def test_a_handler_stays_after_it_fired(persistent, task, recorder, vector):
    register(persistent, task, vector, recorder.handler(True))
    assert [dispatch(persistent, task, vector) for _ in range(3)] == [Resume()] * 3
    assert recorder.calls == [("handler", vector)] * 3


@pytest.mark.parametrize("vector", HANDLED)
def test_a_handler_that_answers_false_stays_too_and_the_task_is_killed(
    persistent, task, recorder, vector
):
    handler = recorder.handler(False)
    register(persistent, task, vector, handler)
    assert dispatch(persistent, task, vector) == Kill(KilledByException(vector))
    taken = persistent.exception_take(task=task, category=category_of_vector(vector))
    assert taken is handler


@pytest.mark.parametrize("vector", range(32))
def test_an_exception_nobody_handles_kills(persistent, task, vector):
    assert dispatch(persistent, task, vector) == Kill(KilledByException(vector))


@pytest.mark.parametrize("vector", [0x02, 0x12, 0x14, 0x1D, 0x1E])
def test_a_vector_of_no_category_kills_past_all_handlers(persistent, task, recorder, vector):
    for category in ExceptionCategory:
        persistent.exception_register(task=task, category=category, handler=recorder.handler(True))
    assert dispatch(persistent, task, vector) == Kill(KilledByException(vector))
    assert recorder.calls == []


def test_the_kill_handler_hears_of_what_kills_after_the_handler_and_of_nothing_else(
    persistent, task, recorder
):
    persistent.exception_set_kill_handler(task=task, handler=recorder.kill_handler())
    answers = iter([True, False])
    register(persistent, task, PAGE_FAULT, lambda context: recorder.handler(next(answers))(context))
    assert dispatch(persistent, task, PAGE_FAULT) == Resume()
    assert recorder.calls == [("handler", PAGE_FAULT)]
    assert dispatch(persistent, task, PAGE_FAULT) == Kill(KilledByException(PAGE_FAULT))
    assert recorder.calls == [("handler", PAGE_FAULT)] * 2 + [("kill", PAGE_FAULT)]


def nested_dispatches(hooks, task, inner_vector):
    """Raise an exception, and another inside its handler; return the inner one's outcome."""
    outcomes = []

    def handle(context):
        if not outcomes:
            outcomes.append(None)
            outcomes.append(dispatch(hooks, task, inner_vector))
        return True

    for vector in {PAGE_FAULT, inner_vector}:
        register(hooks, task, vector, handle)
    assert dispatch(hooks, task, PAGE_FAULT) == Resume()
    return outcomes[1]


def test_an_exception_inside_its_own_handler_kills(persistent, task):
    assert nested_dispatches(persistent, task, PAGE_FAULT) == Kill(KilledByException(PAGE_FAULT))


def test_an_exception_of_another_category_is_handled_inside_a_handler(persistent, task):
    assert nested_dispatches(persistent, task, 0x06) == Resume()


def test_with_nesting_a_handler_is_asked_while_it_runs(nesting, task):
    assert nested_dispatches(nesting, task, PAGE_FAULT) == Resume()


def test_a_handler_that_raised_is_asked_again(persistent, task):
    answers = iter([ZeroDivisionError("in the handler"), True])

    def handle(context):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    register(persistent, task, PAGE_FAULT, handle)
    with pytest.raises(ZeroDivisionError, match="in the handler"):
        dispatch(persistent, task, PAGE_FAULT)
    assert dispatch(persistent, task, PAGE_FAULT) == Resume()


def test_another_tasks_handler_is_not_asked(persistent, task, other_task, recorder):
    register(persistent, other_task, PAGE_FAULT, recorder.handler(True))
    assert dispatch(persistent, task, PAGE_FAULT) == Kill(KilledByException(PAGE_FAULT))
    assert recorder.calls == []
