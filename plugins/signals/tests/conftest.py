"""Each plugin alone behind real hooks: they ask nothing of a machine or of other plugins."""

import pluggy
import pytest

from theseus_kit.hookspecs import PROJECT, ExceptionRegistration, Open
from theseus_kit.task import Task
from theseus_kit.values.memory import AddressRange
from theseus_kit_signals import PersistentSignalsPlugin, SignalsPlugin

PROVIDERS = (SignalsPlugin, PersistentSignalsPlugin)


def make_hooks(plugin, **options):
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(ExceptionRegistration)
    manager.add_hookspecs(Open)
    manager.register(plugin(services=None, options=plugin.description.options(**options)))
    manager.check_pending()
    return manager.hook


@pytest.fixture
def hooks():
    """The Theseus provider's."""
    return make_hooks(SignalsPlugin)


@pytest.fixture
def persistent():
    """The persistent provider's."""
    return make_hooks(PersistentSignalsPlugin)


@pytest.fixture
def nesting():
    """The persistent provider's, whose handlers are asked while they run."""
    return make_hooks(PersistentSignalsPlugin, nested=True)


@pytest.fixture(params=PROVIDERS, ids=lambda plugin: plugin.description.name)
def either(request):
    """Each provider's in turn, for what they must have alike."""
    return make_hooks(request.param)


def make_task(number):
    return Task(number, f"task {number}", AddressRange(0x1000, 0x2000), thread=None)


@pytest.fixture
def task():
    return make_task(1)


@pytest.fixture
def other_task():
    return make_task(2)


class Recorder:
    """Handlers that note each call in one common list."""

    def __init__(self):
        self.calls = []

    def handler(self, answer):
        def handle(context):
            self.calls.append(("handler", context.vector))
            return answer

        return handle

    def kill_handler(self, name="kill"):
        def told(task, reason):
            self.calls.append((name, reason.vector))

        return told


@pytest.fixture
def recorder():
    return Recorder()
