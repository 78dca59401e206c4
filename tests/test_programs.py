"""Programs compiled from C, run by ``theseus-kit assemble`` and by the ordinary wasmtime package.

What they print and exit with must be the same, on every machine.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .wasm_programs import Done, Kit, compiled, finished, is_long, ordinary


@pytest.fixture(scope="module")
def kit(machine: str, tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return Kit(machine, tmp_path_factory.mktemp("cache"))


def text(size: int) -> bytes:
    """Words, lines, empty lines and bytes that are no text, for so many bytes."""
    piece = b"alpha beta\tgamma\n\n  delta\r\nepsilon \xff\xfe\x00 zeta" + bytes(range(256))
    return (piece * (size // len(piece) + 1))[:size]


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_program_gets_its_arguments_and_environment_and_gives_its_status(kit: Kit) -> None:
    program = compiled("surroundings")
    options = ["--env", "EXIT=41", "--env", "EMPTY=", "--env", "TEXT=größe = 3"]
    environment = {"EXIT": "41", "EMPTY": "", "TEXT": "größe = 3"}
    arguments = ["one", "--two", "drei vier", "", "ünf"]
    here = kit(*options, program, *arguments)
    there = ordinary(program, *arguments, environment=environment)
    assert here == there
    assert (here.status, here.stderr) == (41, b"to stderr\n")


def test_what_follows_two_dashes_is_the_programs_too(kit: Kit) -> None:
    program = compiled("surroundings")
    assert kit(program, "--", "--", "-x") == ordinary(program, "--", "-x")


def test_a_programs_own_name_can_be_chosen(kit: Kit) -> None:
    assert kit("--argv0", "me", compiled("surroundings")).stdout == b"argument 0: me\n"


def test_an_environment_variable_without_a_value_is_the_hosts(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOWN", "here")
    monkeypatch.setenv("HIDDEN", "here")
    monkeypatch.delenv("ABSENT", raising=False)
    done = kit("--env", "SHOWN", "--env", "ABSENT", compiled("surroundings"))
    assert b"variable" in done.stdout
    assert done.stdout.splitlines()[1:] == [b"variable: SHOWN=here"]


@pytest.mark.parametrize("size", [0, 1, 65536, 3_000_000])
def test_the_words_of_standard_input_are_counted_alike(kit: Kit, size: int) -> None:
    program = compiled("words")
    content = text(size)
    here = kit(program, stdin=content)
    assert here == ordinary(program, stdin=content)
    assert here.stdout.split()[2] == str(size).encode()


@pytest.mark.skipif(not is_long(), reason="THESEUS_KIT_LONG is not set")
def test_the_words_of_a_hundred_megabytes_are_counted_alike(kit: Kit) -> None:
    program, content = compiled("words"), text(100_000_000)
    assert kit(program, stdin=content) == ordinary(program, stdin=content)


def test_bytes_pass_from_standard_input_to_standard_output_unchanged(kit: Kit) -> None:
    content = os.urandom(2_000_003)
    assert kit(compiled("copy"), stdin=content) == Done(content, b"", 0)


def test_standard_output_is_not_held_back(kit: Kit) -> None:
    command = kit.command(compiled("copy"))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"first\n", b"second\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line  # while the program waits for more
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_a_directory_tree_is_walked_alike(kit: Kit, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("a/b/c", "a/empty", "ä/ö", "with space"):
        (root / name).mkdir(parents=True)
    (root / "a/b/c/file").write_bytes(b"x" * 1000)
    (root / "ä/ö/ü").write_text("text")
    (root / "a/link").symlink_to("b/c")
    (root / "dangling").symlink_to("nowhere")
    program = compiled("walk")
    here = kit("--dir", f"{root}::/data", program, "/data")
    assert here == ordinary(program, "/data", directories=[(root, "/data")])
    assert b"2 files of 1004 bytes, 7 directories, 2 links" in here.stdout


@pytest.mark.parametrize("name", ["/", ".", "/deep/er", "data"])
def test_a_directory_goes_by_the_name_it_is_given(kit: Kit, tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(b"1234")
    program = compiled("walk")
    here = kit("--dir", f"{root}::{name}", program, name)
    assert here == ordinary(program, name, directories=[(root, name)])
    assert b"1 files of 4 bytes, 0 directories" in here.stdout


def test_a_directory_goes_by_its_own_name_otherwise(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/file").write_bytes(b"1234")
    monkeypatch.chdir(tmp_path)
    assert b"1 files of 4 bytes" in kit("--dir", "root", compiled("walk"), "root").stdout
    assert b"1 files of 4 bytes" in kit("--dir", ".", compiled("walk"), "root").stdout


def test_several_directories_do_not_see_each_other(kit: Kit, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"file-{name}").write_bytes(b"")
    options = ["--dir", f"{tmp_path}/one::/", "--dir-ro", f"{tmp_path}/two::/two", "--memfs", "/m"]
    listed = kit(*options, compiled("walk"), "/").stdout
    assert listed.splitlines()[:-1] == [b"0 - 0 file-one"]
    assert b"file-two" in kit(*options, compiled("walk"), "/two").stdout
    assert b"0 files" in kit(*options, compiled("walk"), "/m").stdout


def test_files_answer_alike_whatever_is_done_to_them(kit: Kit, tmp_path: Path) -> None:
    here, there, program = tmp_path / "here", tmp_path / "there", compiled("files")
    here.mkdir()
    there.mkdir()
    done = kit("--dir", f"{here}::/d", program, "/d")
    assert done == ordinary(program, "/d", directories=[(there, "/d")])
    assert names(here) == names(there)
    assert not (tmp_path / "escape").exists()


def test_files_in_memory_answer_like_the_hosts(kit: Kit, tmp_path: Path) -> None:
    program = compiled("files")
    done = kit("--memfs", "/d", program, "/d")
    there = ordinary(program, "/d", directories=[(tmp_path, "/d")])
    assert without_times(done) == without_times(there)
    assert b"\ntimes 1000000000.123000000 1200000000.456000000\n" in done.stdout


def without_times(done: Done) -> Done:
    """All but the times that were set: a file system keeps them as finely as it can, and some of
    the host's in whole seconds."""
    lines = done.stdout.splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(b"times ")]
    return Done(b"".join(kept), done.stderr, done.status)


def test_a_read_only_directory_stays_as_it_is(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"content")
    done = kit("--dir-ro", f"{tmp_path}::/d", compiled("fill"), "/d")
    assert (done.status, done.stdout[:6]) == (1, b"open: ")
    assert names(tmp_path) == ["kept"]


def test_nothing_of_the_host_is_there_unless_it_is_given(kit: Kit) -> None:
    for name in ("/", ".", "/etc", "/module", "/cache", "/preopened"):
        done = kit(compiled("walk"), name)
        assert done.status == 1
        assert done == ordinary(compiled("walk"), name)


def test_a_pipe_of_two_programs_carries_all(kit: Kit) -> None:
    content = text(500_000)
    with subprocess.Popen(
        kit.command(compiled("copy"), "777"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdin is not None
        with subprocess.Popen(
            kit.command(compiled("words")), stdin=first.stdout, stdout=subprocess.PIPE
        ) as second:
            first.stdin.write(content)
            first.stdin.close()
            assert second.stdout is not None
            counted = second.stdout.read()
    assert counted == ordinary(compiled("words"), stdin=content).stdout


def test_the_second_run_compiles_nothing(kit: Kit, tmp_path: Path) -> None:
    command = [*kit.command("--cache", str(tmp_path), compiled("words"))]
    assert finished(command, b"a b").stdout == b"0 2 3\n"
    (artifact,) = tmp_path.glob("*.cwasm")
    written = artifact.stat().st_mtime_ns
    assert finished(command, b"a b").stdout == b"0 2 3\n"
    assert [entry.stat().st_mtime_ns for entry in tmp_path.glob("*.cwasm")] == [written]
