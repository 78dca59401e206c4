"""Slots, alike in both providers: who may register, what a slot holds, when it is empty again."""

import errno

import pytest

from theseus_kit.errors import AlreadyRegisteredError
from theseus_kit.values.exceptions import ExceptionCategory

CATEGORIES = list(ExceptionCategory)


def accept(context):
    return True


def refuse(context):
    return False


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_taken_slot_refuses_and_keeps_the_old_handler(either, task, category):
    either.exception_register(task=task, category=category, handler=accept)
    with pytest.raises(AlreadyRegisteredError, match=category.name) as caught:
        either.exception_register(task=task, category=category, handler=refuse)
    assert caught.value.errno == errno.EEXIST
    assert either.exception_take(task=task, category=category) is accept


def test_the_slots_of_categories_and_tasks_are_apart(either, task, other_task):
    for owner in (task, other_task):
        for category in CATEGORIES:
            either.exception_register(task=owner, category=category, handler=accept)
    either.exception_take(task=task, category=ExceptionCategory.BUS_ERROR)
    for owner in (task, other_task):
        for category in CATEGORIES:
            taken = either.exception_take(task=owner, category=category)
            gone = (owner, category) == (task, ExceptionCategory.BUS_ERROR)
            assert taken is (None if gone else accept)


def test_taking_empties_the_slot_for_the_next_handler(either, task):
    category = ExceptionCategory.INVALID_ADDRESS
    either.exception_register(task=task, category=category, handler=accept)
    assert either.exception_take(task=task, category=category) is accept
    assert either.exception_take(task=task, category=category) is None
    either.exception_register(task=task, category=category, handler=refuse)
    assert either.exception_take(task=task, category=category) is refuse


def test_an_ended_tasks_handlers_are_forgotten(either, task):
    for category in CATEGORIES:
        either.exception_register(task=task, category=category, handler=accept)
    either.task_ended(task=task)
    for category in CATEGORIES:
        assert either.exception_take(task=task, category=category) is None


def test_a_kill_handler_is_taken_once(either, task):
    def told(task, reason):
        raise AssertionError("nobody was killed")

    either.exception_set_kill_handler(task=task, handler=told)
    assert either.exception_take_kill_handler(task=task) is told
    assert either.exception_take_kill_handler(task=task) is None


def test_an_ended_tasks_kill_handler_is_forgotten(either, task):
    either.exception_set_kill_handler(task=task, handler=lambda task, reason: None)
    either.task_ended(task=task)
    assert either.exception_take_kill_handler(task=task) is None
