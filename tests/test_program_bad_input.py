"""What users give by mistake and what hosts do to programs: nothing lost, and one line to read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .wasm_programs import Kit, compiled, is_long, ordinary


@pytest.fixture(scope="module")
def kit(machine: str, tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return Kit(machine, tmp_path_factory.mktemp("cache"))


def test_a_missing_directory_is_named(kit: Kit, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    line = kit.refuses("--dir", f"{missing}::/d", compiled("walk"))
    assert line.startswith(f"--dir {missing}::/d: {missing}: no such directory")


@pytest.mark.parametrize("option", ["--dir", "--dir-ro"])
def test_a_file_where_a_directory_is_wanted_is_named(kit: Kit, tmp_path: Path, option: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    line = kit.refuses(option, file, compiled("walk"))
    assert line == f"{option} {file}: {file} is a file: name the directory it is in"


@pytest.mark.usefixtures("bound_by_modes")
def test_an_unreadable_directory_is_named(kit: Kit, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    assert "permission denied" in kit.refuses("--dir", closed, compiled("walk"))


def test_a_missing_program_is_found_missing_before_its_directories(kit: Kit) -> None:
    assert kit.refuses("--dir", "/nowhere", "nothing.wasm") == "nothing.wasm: no such file"


@pytest.mark.usefixtures("bound_by_modes")
def test_an_unreadable_file_is_the_programs_to_report(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir(mode=0)
    program = compiled("walk")
    here = kit("--dir", f"{tmp_path}::/d", program, "/d")
    assert here == ordinary(program, "/d", directories=[(tmp_path, "/d")])
    assert b"Permission denied" in here.stdout


def test_a_full_disk_takes_what_fits_and_says_so(kit: Kit) -> None:
    done = kit("--memfs", "/d=100000", compiled("fill"), "/d")
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "No space left on device"
    written, size, found = (
        int(word) for word in lines[1].replace(",", "").split() if word.isdigit()
    )
    assert written == size == found
    assert 90_000 < written <= 100_000
    assert lines[2:] == ["remove: 0", "again: 10000"]


def test_a_full_device_as_standard_output_is_the_programs_to_report(kit: Kit) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            kit.command(compiled("copy")),
            input=b"x" * 10,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr == b"write: No space left on device\n"


def test_a_reader_that_leaves_ends_a_program_as_under_wasmtime(kit: Kit) -> None:
    with subprocess.Popen(
        kit.command(compiled("shout")), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10) == b"line\nline\n"
        process.stdout.close()
        assert process.stderr.read() == b"I/O error\n"  # what WASI's streams make of EPIPE
        assert process.wait(timeout=60) == 7


def test_results_that_nobody_reads_are_no_error_message(kit: Kit, examples: Path) -> None:
    command = kit.command("--invoke", "gcd", examples / "gcd.wat", "4", "6")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_results_that_find_no_room_are_one_line(kit: Kit, examples: Path) -> None:
    command = kit.command("--invoke", "gcd", examples / "gcd.wat", "4", "6")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, timeout=120, check=False
        )
    line = b"theseus-kit: cannot write the results: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, line)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with so many entries that a program sees them in several pieces."""
    folder = tmp_path_factory.mktemp("crowd")
    descriptor = os.open(folder, os.O_RDONLY)
    for number in range(100_000 if is_long() else 5_000):
        os.close(os.open(f"entry-{number:06}", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    return folder


def test_a_crowded_directory_is_listed_whole(kit: Kit, crowd: Path) -> None:
    program = compiled("crowd")
    done = kit("--dir-ro", f"{crowd}::/d", program, "/d")
    assert done == ordinary(program, "/d", directories=[(crowd, "/d")])
    assert done.status == 0


def test_two_hundred_levels_of_directories_are_walked(kit: Kit, tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(200):
        os.mkdir("x" * 40, dir_fd=here)
        below = os.open("x" * 40, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    program = compiled("walk")
    done = kit("--dir", f"{tmp_path}::/d", program, "-c", "/d")
    assert done == ordinary(program, "-c", "/d", directories=[(tmp_path, "/d")])
    assert b"200 directories, 0 links, 0 others, depth 200" in done.stdout


def test_names_of_255_bytes_are_names_and_longer_ones_are_refused(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / ("n" * 255)).mkdir()
    (tmp_path / ("ü" * 127)).write_bytes(b"12")
    program = compiled("walk")
    for directory in ("/d", f"/d/{'n' * 255}", f"/d/{'n' * 256}"):
        done = kit("--dir", f"{tmp_path}::/d", program, directory)
        assert done == ordinary(program, directory, directories=[(tmp_path, "/d")])
    assert b"Filename too long" in done.stdout or b"too long" in done.stdout


def test_texts_that_wasi_cannot_hold_are_refused(kit: Kit) -> None:
    program = compiled("surroundings")
    odd = os.fsdecode(b"\xff")
    assert "is not UTF-8" in kit.refuses(program, odd)
    assert "is not UTF-8" in kit.refuses("--env", f"NAME={odd}", program)


def test_a_program_that_asks_for_more_than_wasi_is_refused(kit: Kit, tmp_path: Path) -> None:
    module = tmp_path / "imports.wat"
    module.write_text('(module (import "env" "print" (func)) (func (export "_start")))')
    assert kit.refuses(module) == f"{module} imports env.print, which programs are not offered"
