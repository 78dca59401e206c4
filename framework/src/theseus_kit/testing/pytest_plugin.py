"""The pytest plugin: fixtures for plugins' tests, and the conformance suites under pytest.

    pytest --theseus-machine native --theseus-plugins region,my-handlers,backtrace,path,tlibc

Fixtures, for tests that ask for them; a conftest's own of the same name come first:

``machine``   the name of a machine; the test runs on each that ``--theseus-machine`` names, or all
``assembly``  the plugins of a platform; the test runs with each ``--theseus-plugins``. What those
              leave out the bundled plugins provide
``platform``  a platform of the test's own of the two

pytest imports this module wherever theseus-kit is installed, so it imports nothing until a test
asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from theseus_kit.platform import Platform
    from theseus_kit.testing.conformance.expected_failures import ExpectedFailure
    from theseus_kit.testing.conformance.suite import Conformance

_SUITE_MODULE = "theseus_kit.testing.conformance.suite"
_MACHINE = "theseus_machine"
"""The parameter of the suites' tests: not ``machine``, which a conftest may make something else."""

pytest.register_assert_rewrite("theseus_kit.testing.conformance")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("theseus-kit")
    group.addoption(
        "--theseus-machine",
        action="append",
        default=[],
        metavar="NAME",
        help="run tests on this machine; again for another; all if left out",
    )
    group.addoption(
        "--theseus-plugins",
        action="append",
        default=[],
        metavar="NAME,NAME",
        help="run tests that ask for a platform on one with these plugins; again for another",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_fixtures(_machines(config), _assemblies(config)))


def _machines(config: pytest.Config) -> list[str]:
    from theseus_kit.machine import machine_names

    known = machine_names()
    asked: list[str] = config.getoption("--theseus-machine")
    for name in asked:
        if name not in (*known, "all"):
            raise pytest.UsageError(
                f"--theseus-machine {name}: there is {', '.join(known)}, and all"
            )
    return list(known) if not asked or "all" in asked else list(dict.fromkeys(asked))


def _assemblies(config: pytest.Config) -> list[tuple[str, ...]]:
    from theseus_kit.assembly import BUNDLED

    asked: list[str] = config.getoption("--theseus-plugins")
    lists = [tuple(name.strip() for name in text.split(",") if name.strip()) for text in asked]
    return lists or [BUNDLED]


def _fixtures(machines: list[str], assemblies: list[tuple[str, ...]]) -> object:
    """The fixtures, made when the options they are parametrised by are known."""

    class Fixtures:
        @pytest.fixture(params=machines)
        def machine(self, request: pytest.FixtureRequest) -> str:
            """The name of a machine."""
            name: str = request.param
            return name

        @pytest.fixture(params=assemblies, ids="-".join)
        def assembly(self, request: pytest.FixtureRequest) -> list[Any]:
            """The plugins of a platform, as ``assemble`` takes them."""
            from theseus_kit.testing.conformance.companions import completed

            return completed(request.param)

        @pytest.fixture
        def platform(self, assembly: list[Any], machine: str) -> Iterator[Platform]:
            """A platform of this test's own."""
            from theseus_kit.assembly import assemble

            with assemble(assembly, machine) as assembled:
                yield assembled

    return Fixtures()


def _suite_of(owner: type | None) -> type[Conformance] | None:
    """The suite a test is of; None for any other test."""
    module = sys.modules.get(_SUITE_MODULE)  # nobody has a suite where nobody imported it
    if module is None or owner is None or not issubclass(owner, module.Conformance):
        return None
    suite: type[Conformance] = owner
    return suite


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if _suite_of(metafunc.cls) is not None:
        metafunc.fixturenames.append(_MACHINE)
        metafunc.parametrize(_MACHINE, _machines(metafunc.config))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and _suite_of(item.cls) is not None:
        item.instance.machine_name = item.callspec.params[_MACHINE]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    read: dict[tuple[type, Path], dict[tuple[str, str], ExpectedFailure]] = {}
    for item in items:
        suite = _suite_of(item.cls) if isinstance(item, pytest.Function) else None
        if suite is None or not isinstance(item, pytest.Function):
            continue
        key = suite, item.path
        if key not in read:
            read[key] = _expected_failures(suite, item.path)
        expected = read[key].get((suite.group.value, item.originalname))
        if expected is not None and item.callspec.params[_MACHINE] in expected.machines:
            item.add_marker(pytest.mark.xfail(reason=expected.reason, strict=True))


def _expected_failures(
    suite: type[Conformance], test_file: Path
) -> dict[tuple[str, str], ExpectedFailure]:
    from theseus_kit.errors import UsageError
    from theseus_kit.testing.conformance.expected_failures import (
        FILE_NAME,
        file_beside,
        read_expected_failures,
    )

    try:
        plugin = suite.plugin_class()
        path = test_file.with_name(FILE_NAME)
        if suite.expected_failures is not None:
            path = test_file.parent / suite.expected_failures
        found = path if suite.expected_failures or path.is_file() else file_beside(plugin)
        return (
            {} if found is None else read_expected_failures(found, plugin.description.name, [suite])
        )
    except UsageError as error:
        raise pytest.UsageError(f"{suite.__name__}: {error}") from error
