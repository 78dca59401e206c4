"""Packages that new-plugin writes: right as they are, whole or not there at all."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import typer.testing

from theseus_kit.cli.new_plugin import KINDS, new_plugin_command
from theseus_kit.errors import UsageError
from theseus_kit.hookspecs import Group

ROOT = Path(__file__).parents[3]


def make(directory, group, name="acme-things"):
    new_plugin_command(name, group, directory)
    return directory / name


def run(*command, cwd, path=()):
    search = os.pathsep.join([*map(str, path), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
    )


def install(package, where):
    """What pip does with a package, as far as a plugin needs it: its modules and entry point."""
    metadata = where / "acme_things-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-things\nVersion: 0.1.0\n")
    entry = "acme-things = acme_things:AcmeThingsPlugin"
    (metadata / "entry_points.txt").write_text(f"[theseus_kit]\n{entry}\n")
    return [package / "src", where]


def test_there_is_a_template_for_every_group_that_has_a_suite():
    assert set(KINDS) == {group.value for group in Group if group is not Group.C_LIBRARY}


@pytest.mark.parametrize("group", KINDS)
def test_a_new_package_passes_check_on_every_machine(tmp_path, group):
    package = make(tmp_path, group)
    path = install(package, tmp_path / "installed")
    checked = run("-m", "theseus_kit.cli", "check", "acme-things", cwd=tmp_path, path=path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_new_packages_are_strictly_typed(tmp_path):
    packages = [make(tmp_path, group, f"acme-{group}") for group in KINDS]
    sources = [str(package / "src") for package in packages]
    configuration = str(packages[0] / "pyproject.toml")  # its mypy settings are every package's
    checked = run("-m", "mypy", "--config-file", configuration, *sources, cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_new_package_s_own_tests_are_collected_and_pass(tmp_path):
    package = make(tmp_path, "exception-registration")
    path = install(package, tmp_path / "installed")
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--theseus-machine", "emulated")
    tested = run(*arguments, cwd=package, path=path)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert " passed" in tested.stdout


def test_a_new_package_builds(tmp_path):
    pytest.importorskip("build")
    package = make(tmp_path, "memory-mapping")
    built = run("-m", "build", "--no-isolation", "--wheel", cwd=package)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (package / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"acme_things/plugin.py", "acme_things/py.typed"} <= set(names)


@pytest.mark.parametrize("group", KINDS)
def test_a_new_package_is_formatted_and_linted_as_the_kit_is(tmp_path, group):
    package = make(tmp_path, group)
    config = ("--config", str(ROOT / "pyproject.toml"))
    for command in (("format", "--check"), ("check", "--ignore", "I001")):
        checked = run("-m", "ruff", *command, *config, "src", "tests", cwd=package)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_ci_file_names_its_commands_and_no_template_s_word_is_left(tmp_path):
    package = make(tmp_path, "unwinding")
    workflow = (package / ".github/workflows/test.yml").read_text()
    assert "theseus-kit check acme-things" in workflow
    assert "${{ matrix.python }}" in workflow
    for file in package.rglob("*"):
        if file.is_file():
            assert "$name" not in file.read_text()


@pytest.mark.parametrize("group", KINDS)
def test_the_readme_s_command_runs_a_module_on_a_new_package(tmp_path, group):
    package = make(tmp_path, group)
    path = install(package, tmp_path / "installed")
    readme = (package / "README.md").read_text()
    line = next(line for line in readme.splitlines() if line.startswith("theseus-kit assemble"))
    arguments = line.split()[1:]
    arguments[arguments.index("gcd.wat")] = str(ROOT / "examples" / "gcd.wat")
    done = run("-m", "theseus_kit.cli", *arguments, cwd=tmp_path, path=path)
    assert (done.returncode, done.stdout) == (0, "21\n"), done.stderr


def test_the_readme_s_assembly_is_one(tmp_path):
    package = make(tmp_path, "symbolication")
    readme = (package / "README.md").read_text()
    assert "--plugins region,signals,acme-things,backtrace-unwinding,path,tlibc " in readme


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Acme", "no name for a plugin"),
        ("acme_things", "no name for a plugin"),
        ("9lives", "no name for a plugin"),
        ("acme--things", "no name for a plugin"),
        ("../acme", "no name for a plugin"),
        ("", "no name for a plugin"),
        ("a" * 61, "no name for a plugin"),
        ("class", "a name of Python's own"),
        ("random", "a name of Python's own"),
        ("region", "installed already"),
        ("theseus-kit-mine", "the kit's own"),
    ],
)
def test_a_bad_name_is_one_clear_line_and_nothing_is_written(tmp_path, name, problem):
    with pytest.raises(UsageError, match=problem) as caught:
        make(tmp_path, "memory-mapping", name)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_group_is_told_with_the_nearest(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'memory-mapping'"):
        make(tmp_path, "memory-maping")


@pytest.mark.parametrize("kind", ["file", "directory", "dangling link"])
def test_nothing_is_overwritten(tmp_path, kind):
    target = tmp_path / "acme-things"
    if kind == "file":
        target.write_text("mine")
    elif kind == "directory":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="exists already"):
        make(tmp_path, "memory-mapping")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_directory_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match="no such directory"):
        make(tmp_path / "none", "memory-mapping")


def test_what_cannot_be_written_whole_is_not_written_at_all(tmp_path, monkeypatch):
    written = []
    write = Path.write_text

    def fill_the_disk(path, text, **options):
        written.append(path)
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", fill_the_disk)
    with pytest.raises(UsageError, match="No space left"):
        make(tmp_path, "memory-mapping")
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_prints_where_the_package_is(tmp_path):
    app = typer.Typer()
    app.command()(new_plugin_command)
    arguments = ["acme-things", "--group", "path-handling", "--directory", str(tmp_path)]
    result = typer.testing.CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert str(tmp_path / "acme-things") in result.output
