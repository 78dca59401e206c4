"""Plugins that a check has something to say of, installed for the tests as a distribution."""

import os
import signal
import time

from theseus_kit import Group, Plugin, PluginDescription, hookimpl
from theseus_kit.capabilities import Capability
from theseus_kit.values.exceptions import Kill, KilledByException, Resume


class BrokenHandlers(Plugin):
    """Registers and takes, asks nobody, dies of one vector, hangs at another."""

    description = PluginDescription(
        name="broken-handlers",
        version="1",
        provides=frozenset({Group.EXCEPTION_REGISTRATION}),
        lacks=frozenset({Capability.KILL_HANDLER_TAKING}),
    )

    def __init__(self, services, options):
        super().__init__(services, options)
        self.handlers = {}

    @hookimpl
    def exception_register(self, task, category, handler):
        self.handlers[task, category] = handler  # silently replaces

    @hookimpl
    def exception_take(self, task, category):
        return self.handlers.pop((task, category), None)

    @hookimpl
    def exception_set_kill_handler(self, task, handler):
        if handler is None:
            os.kill(os.getpid(), signal.SIGKILL)

    @hookimpl
    def exception_dispatch(self, task, context):
        handler = self.handlers.get((task, context.category))
        if context.vector == 0x02:
            time.sleep(60)
        if handler is not None and handler(context):
            return Resume()
        return Kill(KilledByException(context.vector))


class Overreaching(Plugin):
    """Lacks what it does not provide."""

    description = PluginDescription(
        name="overreaching", version="1", lacks=frozenset({Capability.LOCKING})
    )


class MisspeltHandlers(BrokenHandlers):
    """Asks for a name that is not there, wherever it is asked anything."""

    description = BrokenHandlers.description._replace(name="misspelt-handlers")

    @hookimpl
    def task_started(self, task):
        self.handlres[task] = {}
