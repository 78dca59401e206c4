"""The way of docs/write-a-plugin.md, from an empty folder to a matrix run, as the page has it.

Its commands are run one after the other in a shell, beside the files it names. Only pip is told
more: to install into a directory of the test's own, from what is there already.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import ROOT, blocks, section

PAGE = ROOT / "docs" / "write-a-plugin.md"
PIP = """#!/bin/sh
exec "$PYTHON" -m pip install --quiet --no-deps --no-build-isolation --no-index \\
    --disable-pip-version-check --upgrade --target "$PYTHONPATH" .
"""
TOOL = """#!/bin/sh
exec "$PYTHON" -m {module} "$@"
"""


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment whose commands are this Python's, and that knows a directory to install in."""
    tools = tmp_path / "tools"
    tools.mkdir()
    commands = {"theseus-kit": "theseus_kit.cli", "pytest": "pytest -p no:cacheprovider"}
    scripts = {name: TOOL.format(module=module) for name, module in commands.items()}
    for name, script in {**scripts, "pip": PIP}.items():
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "PYTHONPATH": str(tmp_path / "installed"),
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
    }


def test_a_plugin_comes_from_an_empty_folder_to_a_matrix_run(
    tmp_path: Path, shell: dict[str, str]
) -> None:
    pytest.importorskip("hatchling")  # builds the package, where nothing may be downloaded
    folder = tmp_path / "empty"
    folder.mkdir()
    outputs: dict[str, str] = {}
    for block in blocks(section(PAGE.read_text(), "From an empty folder")):
        if block.file is not None:
            (folder / block.file).write_text(block.text)
        elif block.language == "console":
            for command in block.commands:
                outputs[command] = run(command, folder, shell)
                if command.startswith("cd "):
                    folder /= command.removeprefix("cd ")
    listed = outputs["theseus-kit plugins"]
    assert "my-maps" in listed
    assert "broken" not in listed
    (swapped,) = [text for command, text in outputs.items() if "trace,my-maps" in command]
    assert "hook.memory_map(" in swapped
    measured = outputs["theseus-kit matrix matrix.toml --filter tests=mine"]
    assert "4 cells: 4 passed" in measured
    assert (folder / "matrix-results" / "matrix.html").is_file()


def run(command: str, folder: Path, shell: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-euc", command], cwd=folder, env=shell, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr
