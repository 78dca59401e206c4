"""Machines by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from theseus_kit.errors import UsageError
from theseus_kit.machine import create_machine, machine_names
from theseus_kit.machine.protocol import Ability, Machine


def test_every_name_makes_a_machine() -> None:
    assert "emulated" in machine_names()
    with create_machine("emulated", {"territory_gib": 64}) as machine:
        assert machine.name == "emulated"
        assert Ability.PRECISE_FAULTS in machine.abilities
        assert "Unicorn" in machine.details


def test_an_unknown_machine_or_option_is_the_user_s_mistake() -> None:
    with pytest.raises(UsageError, match="no machine 'quantum'"):
        create_machine("quantum", {})
    with pytest.raises(UsageError, match=r"no option 'speed'.*territory_gib"):
        create_machine("emulated", {"speed": 3})


def test_it_is_a_machine(machine) -> None:
    checked: Machine = machine
    members = [name for name in dir(Machine) if not name.startswith("_")]
    assert all(hasattr(checked, name) for name in members)


def test_the_emulated_cpu_has_what_compiled_code_is_given(emulated_guest) -> None:
    assert emulated_guest.machine.cpu_features == {
        *("has_sse3", "has_ssse3", "has_sse41", "has_sse42"),
        *("has_popcnt", "has_lzcnt", "has_bmi1", "has_bmi2"),
    }


def test_making_a_machine_does_not_import_unicorn_s_binding() -> None:
    program = (
        "import sys\n"
        "from theseus_kit.machine import create_machine\n"
        "create_machine('emulated', {}).close()\n"
        "heavy = {'unicorn', 'capstone', 'inspect', 'elftools', 'rich'} & set(sys.modules)\n"
        "print(sorted(heavy - {'inspect'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
