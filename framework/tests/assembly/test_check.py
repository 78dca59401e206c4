"""What an assembly refuses, before anything runs, and how it says so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from theseus_kit import (
    BUNDLED,
    Ability,
    AssemblyError,
    Group,
    Plugin,
    PluginDescription,
    PluginError,
    assemble,
    hookimpl,
    option,
)
from theseus_kit.assembly import check
from theseus_kit.assembly.catalogue import Catalogue
from theseus_kit.assembly.options import make_options
from theseus_kit.hookspecs import GROUPS


def describe(name: str, *groups: Group, **more: Any) -> PluginDescription:
    return PluginDescription(name=name, version="1.0", provides=frozenset(groups), **more)


class Watcher(Plugin):
    description = describe("watcher")

    @hookimpl(wrapper=True)
    def memory_map(self, request: Any) -> Any:
        return (yield)


def refusal(*plugins: Any, **more: Any) -> str:
    with pytest.raises(AssemblyError) as raised:
        assemble(plugins, **more)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_an_unknown_plugin_is_refused_with_the_name_that_was_meant() -> None:
    assert refusal("regoin") == "no plugin named 'regoin' is installed: did you mean 'region'?"


def test_a_group_without_a_provider_is_refused_with_who_could_provide_it() -> None:
    message = refusal("region", "signals", "backtrace", "tlibc")
    assert message.startswith("no plugin of the assembly provides path-handling: add one of path,")


def test_a_group_with_two_providers_is_refused_with_both_names() -> None:
    class Second(Catalogue().plugin("region")):  # type: ignore[misc]
        description = describe("second", Group.MEMORY_MAPPING)

    message = refusal(*BUNDLED, Second)
    assert message == "'region' and 'second' provide memory-mapping both: choose one of them"


def test_a_plugin_listed_twice_is_refused() -> None:
    assert refusal(*BUNDLED, "path") == "plugin 'path' is listed twice: remove one of the two"


def test_a_misspelt_hook_is_refused_with_the_hook_that_was_meant() -> None:
    class Misspelt(Plugin):
        description = describe("misspelt")

        @hookimpl
        def memory_mapp(self, request: Any) -> None: ...

    message = refusal(*BUNDLED, Misspelt)
    expected = "plugin 'misspelt' implements memory_mapp, which is no hook: "
    assert message == expected + "did you mean 'memory_map'?"


def test_a_misspelt_argument_is_refused_with_the_argument_that_was_meant() -> None:
    class Misspelt(Plugin):
        description = describe("misspelt")

        @hookimpl(wrapper=True)
        def memory_map(self, requests: Any) -> Any:
            return (yield)

    message = refusal(*BUNDLED, Misspelt)
    assert "plugin 'misspelt', hook memory_map: it has no argument 'requests'" in message
    assert message.endswith("did you mean 'request'?")


def test_a_provider_that_leaves_a_hook_out_is_refused_by_the_hook_s_name() -> None:
    class Half(Plugin):
        description = describe("half", Group.MEMORY_MAPPING)

        @hookimpl
        def memory_map(self, request: Any) -> None: ...

    message = refusal(Half, "signals", "backtrace", "path", "tlibc")
    assert "plugin 'half' says it provides memory-mapping but does not implement" in message
    assert "memory_protect" in message


def test_an_answer_to_a_group_that_was_not_claimed_is_refused() -> None:
    class Unclaimed(Plugin):
        description = describe("unclaimed")

        @hookimpl
        def memory_map(self, request: Any) -> None: ...

    assert "does not say it provides memory-mapping" in refusal(*BUNDLED, Unclaimed)


def test_something_that_is_no_plugin_is_refused() -> None:
    assert refusal(*BUNDLED, 42) == "42 is neither the name of a plugin nor a Plugin class"


def test_a_plugin_without_a_description_is_refused_by_its_class() -> None:
    class Nameless(Plugin): ...

    assert "Nameless has no `description" in refusal(*BUNDLED, Nameless)


def test_a_group_that_is_given_as_text_is_refused_with_how_to_write_it() -> None:
    class Textual(Plugin):
        description = PluginDescription(
            name="textual",
            version="1.0",
            provides=frozenset({"memory-mapping"}),  # type: ignore[arg-type]
        )

    message = refusal(Textual, "signals", "backtrace", "path", "tlibc")
    assert "plugin 'textual' says it provides 'memory-mapping'" in message
    assert "Group.MEMORY_MAPPING" in message


def test_a_plugin_that_fails_while_it_is_made_is_named() -> None:
    class Careless(Watcher):
        def __init__(self, services: Any, options: Any) -> None:
            super().__init__(services, options)
            self.share = 1 // 0

    with pytest.raises(PluginError, match=r"plugin 'watcher', hook __init__.*ZeroDivisionError"):
        assemble([Careless, *BUNDLED])


def test_an_unknown_machine_is_refused_with_the_one_that_was_meant() -> None:
    message = refusal(*BUNDLED, machine="emulate")
    assert message == "no machine is named 'emulate': did you mean 'emulated'?"


@pytest.mark.parametrize(
    ("value", "used"), [("true", True), ("false", False), (True, True), (False, False)]
)
def test_a_machine_s_options_are_converted_as_a_plugin_s_are(value: object, used: bool) -> None:
    with assemble(options={"emulated": {"internal_fields": value}}) as platform:
        assert ("internal fields known" in platform.report.machine_details) == used


def test_a_machine_s_option_of_the_wrong_type_is_refused() -> None:
    message = refusal(*BUNDLED, options={"emulated": {"internal_fields": "perhaps"}})
    expected = "option 'internal_fields' of machine 'emulated' must be bool, not 'perhaps'"
    assert message == expected


def test_an_ability_the_machine_lacks_is_refused_by_plugin_and_ability() -> None:
    class Wants(Plugin):
        description = describe("wants", needs=frozenset({Ability.HOST_FUNCTIONS}))

    message = refusal(*BUNDLED, Wants, machine="emulated")
    assert "plugin 'wants' needs host-functions, which the machine 'emulated' lacks" in message


def test_options_for_a_plugin_outside_the_assembly_are_refused() -> None:
    message = refusal(*BUNDLED, options={"regin": {"x": 1}})
    assert "options for 'regin', which is not in the assembly: did you mean 'region'?" in message


class Speed(Enum):
    SLOW = "slow"
    FAST = "fast"


@dataclass(frozen=True)
class Options:
    pages: int = option(1, help="pages")
    loud: bool = option(False, help="loud")
    ratio: float = option(1.0, help="ratio")
    speed: Speed = option(Speed.SLOW, help="speed")
    log: Path | None = option(None, help="log")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("pages", "0x10", 16),
        ("pages", 3, 3),
        ("loud", "yes", True),
        ("loud", "false", False),
        ("loud", True, True),
        ("ratio", "2", 2.0),
        ("ratio", 2, 2.0),
        ("speed", "fast", Speed.FAST),
        ("log", "a.log", Path("a.log")),
        ("log", "none", None),
    ],
)
def test_options_are_converted_to_their_types(name: str, value: object, expected: object) -> None:
    made = make_options("plugin 'p'", Options, {name: value})
    assert getattr(made, name) == expected
    assert type(getattr(made, name)) is type(expected) or expected is not None


@pytest.mark.parametrize(
    ("name", "value", "type_"),
    [
        ("pages", "many", "int"),
        ("pages", True, "int"),
        ("pages", 1.5, "int"),
        ("loud", "perhaps", "bool"),
        ("speed", "medium", "one of slow, fast"),
        ("log", 3, "Path or none"),
    ],
)
def test_an_option_of_the_wrong_type_is_refused(name: str, value: object, type_: str) -> None:
    with pytest.raises(AssemblyError) as raised:
        make_options("plugin 'p'", Options, {name: value})
    assert str(raised.value) == f"option {name!r} of plugin 'p' must be {type_}, not {value!r}"


def test_an_unknown_option_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(AssemblyError, match="has no option 'page': did you mean 'pages'"):
        make_options("plugin 'p'", Options, {"page": 1})


def test_a_wrapper_needs_no_group() -> None:
    plugins = [Catalogue().plugin(name) for name in BUNDLED]
    assert check.check_plugins([*plugins, Watcher], Catalogue()).keys() == GROUPS.keys()


def test_a_plugin_whose_import_fails_is_listed_with_its_reason_and_hinders_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_plugin.py").write_text("import no_such_module\n")
    about = tmp_path / "broken_plugin-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[theseus_kit]\nbroken = broken_plugin:Broken\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue = Catalogue()
    problems = {installed.name: installed.problem for installed in catalogue}
    assert problems["broken"] == "ModuleNotFoundError: No module named 'no_such_module'"
    assert problems["region"] is None
    assert "plugin 'broken' of broken-plugin 1.0 is broken: ModuleNotFound" in refusal("broken")
