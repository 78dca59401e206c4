"""Slots: who may register, what a slot holds, when it is empty again."""

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
def test_a_taken_slot_refuses_and_keeps_the_old_handler(hooks, task, category):
    hooks.exception_register(task=task, category=category, handler=accept)
    with pytest.raises(AlreadyRegisteredError, match=category.name) as caught:
        hooks.exception_register(task=task, category=category, handler=refuse)
    assert caught.value.errno == errno.EEXIST
    assert hooks.exception_take(task=task, category=category) is accept


def test_the_slots_of_categories_and_tasks_are_apart(hooks, task, other_task):
    for owner in (task, other_task):
        for category in CATEGORIES:
            hooks.exception_register(task=owner, category=category, handler=accept)
    hooks.exception_take(task=task, category=ExceptionCategory.BUS_ERROR)
    for owner in (task, other_task):
        for category in CATEGORIES:
            taken = hooks.exception_take(task=owner, category=category)
            gone = (owner, category) == (task, ExceptionCategory.BUS_ERROR)
            assert taken is (None if gone else accept)


def test_taking_empties_the_slot_for_the_next_handler(hooks, task):
    category = ExceptionCategory.INVALID_ADDRESS
    hooks.exception_register(task=task, category=category, handler=accept)
    assert hooks.exception_take(task=task, category=category) is accept
    assert hooks.exception_take(task=task, category=category) is None
    hooks.exception_register(task=task, category=category, handler=refuse)
    assert hooks.exception_take(task=task, category=category) is refuse


def test_an_ended_tasks_handlers_are_forgotten(hooks, task):
    for category in CATEGORIES:
        hooks.exception_register(task=task, category=category, handler=accept)
    hooks.task_ended(task=task)
    for category in CATEGORIES:
        assert hooks.exception_take(task=task, category=category) is None
