"""Both providers under the group's conformance suite."""

from typing import ClassVar

from theseus_kit.testing.conformance import ExceptionRegistrationConformance


class TestSignals(ExceptionRegistrationConformance):
    plugin = "signals"


class TestPersistentSignals(ExceptionRegistrationConformance):
    plugin = "signals-persistent"


class TestNestedPersistentSignals(ExceptionRegistrationConformance):
    plugin = "signals-persistent"
    options: ClassVar = {"signals-persistent": {"nested": True}}
