"""typer without what it imports and nobody uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BEFORE = """
import sys
from theseus_kit.cli.lean_typer import _Later, import_typer
before = set(sys.modules)
import_typer()
after = set(sys.modules) - before
"""


def said(program: str, path: Path | None = None) -> str:
    """What a program prints, in a process of its own."""
    first = "" if path is None else f"import sys; sys.path.insert(0, {str(path)!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", first + program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_typer_has_no_use_for_is_not_imported():
    program = BEFORE + "print('typer' in after, {'subprocess', 'difflib', 'uuid'} & after)"
    assert said(program) == "True set()\n"


def test_what_typer_takes_from_what_is_stood_in_for_can_wait_until_it_is_called():
    program = """
import typer.core, typer.main
taken = {
    f"{value._module}.{value._name}": callable(value._found())
    for name, module in list(sys.modules.items()) if name.partition(".")[0] in ("typer", "click")
    for value in vars(module).values() if isinstance(value, _Later)
}
print("uuid.UUID" in taken, all(taken.values()), taken)
"""
    assert said(BEFORE + program).startswith("True True ")


def test_typer_finds_what_it_uses_when_it_uses_it():
    program = """
import typer, typer.main
print(typer.get_terminal_size((7, 9)).__class__.__name__)
print(typer.main.subprocess.Popen.__name__)
import subprocess, uuid
print(typer.main.subprocess.Popen is subprocess.Popen)
print(typer.main.UUID == uuid.UUID, typer.main.UUID == int)
print(hash(typer.main.UUID) == hash(uuid.UUID))
app = typer.Typer()
@app.command()
def command(number: uuid.UUID):
    print(type(number).__name__, number.int)
app(["00000000-0000-0000-0000-000000000007"], standalone_mode=False)
"""
    expected = "terminal_size\nPopen\nTrue\nTrue False\nTrue\nUUID 7\n"
    assert said(BEFORE + program) == expected


def test_others_get_the_modules_themselves():
    program = """
import typer, difflib, types
print(type(difflib) is types.ModuleType, difflib.get_close_matches("helo", ["hello"]))
"""
    assert said(BEFORE + program) == "True ['hello']\n"


def test_a_typer_that_needs_more_than_names_is_imported_as_ever(tmp_path: Path) -> None:
    package = tmp_path / "typer"
    package.mkdir()
    (package / "__init__.py").write_text("from typer.main import Special\n")
    (package / "main.py").write_text("import subprocess\nclass Special(subprocess.Popen): pass\n")
    program = """
from theseus_kit.cli.lean_typer import import_typer
import_typer()
import subprocess, typer
print(typer.__file__ is not None, issubclass(typer.Special, subprocess.Popen))
"""
    assert said(program, tmp_path) == "True True\n"
