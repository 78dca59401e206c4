"""The plugin alone behind real hooks: it asks nothing of a machine or of other plugins."""

import pluggy
import pytest

from theseus_kit.hookspecs import PROJECT, ExceptionRegistration, Open
from theseus_kit.plugin import NoOptions
from theseus_kit.task import Task
from theseus_kit.values.memory import AddressRange
from theseus_kit_signals import SignalsPlugin


@pytest.fixture
def hooks():
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(ExceptionRegistration)
    manager.add_hookspecs(Open)
    manager.register(SignalsPlugin(services=None, options=NoOptions()))
    manager.check_pending()
    return manager.hook


def make_task(number):
    return Task(number, f"task {number}", AddressRange(0x1000, 0x2000), thread=None)


@pytest.fixture
def task():
    return make_task(1)


@pytest.fixture
def other_task():
    return make_task(2)
