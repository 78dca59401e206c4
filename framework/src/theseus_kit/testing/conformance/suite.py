"""What the conformance suites have alike: a platform for each test, clauses, capabilities.

A suite is a class whose ``test_*`` methods each hold a provider to a clause of the contract.
Nothing here needs pytest: its own rules (a class named ``Test…``, ``setup_method`` and
``teardown_method``) are all that is used, so pytest runs the suites and so does
:mod:`theseus_kit.testing.conformance.runner`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from unittest import SkipTest

from theseus_kit.assembly import Catalogue, assemble
from theseus_kit.errors import AssemblyError, MachineError, PlatformError, UsageError
from theseus_kit.testing.conformance.companions import with_companions
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.capabilities import Capability
    from theseus_kit.hookspecs import Group
    from theseus_kit.machine.protocol import Machine, Memory
    from theseus_kit.platform import Platform
    from theseus_kit.plugin import Plugin
    from theseus_kit.task import Task

_Test = TypeVar("_Test", bound=Callable[..., None])
_Error = TypeVar("_Error", bound=BaseException)
_CLAUSES = "theseus_kit_clauses"
_NEEDS = "theseus_kit_needs"


class Clause(NamedTuple):
    """A sentence of the contract, or a part of one, and the hook or value type it stands in."""

    subject: Any
    text: str

    def __str__(self) -> str:
        return f"{self.subject.__qualname__}: {self.text}"


def clause(subject: Any, text: str) -> Callable[[_Test], _Test]:
    """Cite the clause that a test holds the provider to, word for word."""

    def mark(test: _Test) -> _Test:
        setattr(test, _CLAUSES, [Clause(subject, text), *clauses_of(test)])
        return test

    return mark


def needs(*capabilities: Capability) -> Callable[[_Test], _Test]:
    """Skip a test for providers that lack one of these."""

    def mark(test: _Test) -> _Test:
        setattr(test, _NEEDS, capabilities)
        return test

    return mark


def clauses_of(test: Callable[..., None]) -> list[Clause]:
    """The clauses that a test cites."""
    clauses: list[Clause] = getattr(test, _CLAUSES, [])
    return clauses


def needs_of(test: Callable[..., None]) -> tuple[Capability, ...]:
    """The capabilities that a test needs."""
    capabilities: tuple[Capability, ...] = getattr(test, _NEEDS, ())
    return capabilities


class Conformance:
    """Base of the suites. An author inherits one and says which plugin it is about::

    class TestMyMaps(MemoryMappingConformance):
        plugin = "my-maps"  # an installed plugin's name, or a Plugin class
    """

    group: ClassVar[Group]
    plugin: ClassVar[str | type[Plugin] | None] = None
    options: ClassVar[Mapping[str, Mapping[str, object]]] = {}
    """Options of the assembly, by plugin and name."""
    companions: ClassVar[Sequence[str | type[Plugin]] | None] = None
    """The plugins beside it; None: the bundled ones, for the groups it does not provide."""
    expected_failures: ClassVar[str | None] = None
    """A TOML file of expected failures; None: the one beside the plugin's code or the tests."""
    machine_name: str = "emulated"
    beside: Sequence[type[Plugin]] = ()
    """Plugins that a test wants in front of the others; they provide nothing."""

    _platform: Platform | None = None

    @classmethod
    def plugin_class(cls) -> type[Plugin]:
        """The plugin the suite is about. Raises AssemblyError if there is no such plugin."""
        if cls.plugin is None:
            raise UsageError(f'{cls.__name__} names no plugin: give it `plugin = "…"`')
        return Catalogue().plugin(cls.plugin) if isinstance(cls.plugin, str) else cls.plugin

    @classmethod
    def reason_to_skip(cls, test: str, machine: str) -> str | None:
        """Why a test is not for this provider, None if it is."""
        lacking = cls.plugin_class().description.lacks.intersection(needs_of(getattr(cls, test)))
        if lacking:
            names = ", ".join(sorted(capability.value for capability in lacking))
            return f"the plugin lacks {names}"
        return None

    def setup_method(self, method: Callable[..., None]) -> None:
        """Called before each test."""
        reason = self.reason_to_skip(method.__name__, self.machine_name)
        if reason is not None:
            raise SkipTest(reason)

    def teardown_method(self) -> None:
        """Called after each test."""
        platform, self._platform = self._platform, None
        if platform is not None:
            platform.close()

    @property
    def platform(self) -> Platform:
        """A platform of this test's own, with the plugin and its companions."""
        if self._platform is None:
            plugin = self.plugin_class()
            chosen = [*self.beside, *with_companions(plugin, self.companions)]
            try:
                self._platform = assemble(chosen, self.machine_name, self.options)
            except AssemblyError as error:
                if plugin.description.needs and " needs " in str(error):
                    raise SkipTest(str(error)) from error
                raise
            except MachineError as error:  # no such machine on this host
                raise SkipTest(str(error)) from error
        return self._platform

    @property
    def hooks(self) -> Any:
        return self.platform.hooks

    @property
    def machine(self) -> Machine:
        return self.platform.machine

    @property
    def memory(self) -> Memory:
        return self.platform.machine.memory

    @property
    def task(self) -> Task:
        """The platform's main task."""
        return self.platform.tasks.current

    def new_task(self) -> Task:
        """Another task, which runs nothing."""
        return self.platform.tasks.create("second", self.hooks)

    @contextmanager
    def refused(self, error: type[PlatformError], errno: int | None = None) -> Iterator[None]:
        """The block must be refused by this error, with its errno or the one given."""
        expected = error.errno if errno is None else errno
        refusal: PlatformError | None = None
        try:
            yield
        except PlatformError as raised:
            refusal = raised
        assert refusal is not None, f"it was not refused: {error.__name__} was expected"
        assert isinstance(refusal, error), f"{type(refusal).__name__}, not {error.__name__}"
        assert refusal.errno == expected, f"errno {refusal.errno}, not {expected}"

    def raised(self, error: type[_Error], function: Callable[..., Any], *arguments: Any) -> _Error:
        """Call a function that must raise this error, and return the error."""
        try:
            function(*arguments)
        except error as raised:
            return raised
        raise AssertionError(f"nothing was raised: {error.__name__} was expected")


def names_of_tests(suite: type[Conformance]) -> list[str]:
    """The names of a suite's tests, in the order they are written in."""
    names: dict[str, None] = {}
    for base in reversed(suite.__mro__):
        names.update(dict.fromkeys(name for name in vars(base) if name.startswith("test_")))
    return [name for name in names if callable(getattr(suite, name))]
