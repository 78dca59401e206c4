"""``theseus-kit python``: Python programs written for the wasmtime package, run on a platform."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

PROGRAM = """
    import sys
    import wasmtime, wasmtime.component
    from wasmtime import Engine, Instance, Module, Store
    from wasmtime._ffi import dll

    store = Store()
    module = Module(store.engine, '(module (func (export "f") (result i32) i32.const 42))')
    print(Instance(store, module, []).exports(store)["f"](store))
    print(type(dll).__name__, wasmtime.component.Linker.__module__, __name__, sys.argv[1:])
    print(sys.modules["wasmtime"] is wasmtime, wasmtime.__spec__.origin == wasmtime.__file__)
"""


@pytest.fixture
def run(machine: str, tmp_path: Path) -> Run:
    """Runs the command with arguments, in a directory of its own."""

    def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "theseus_kit.cli", "python", "--machine", machine]
        return subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
            env={**os.environ, **environment},
        )

    return python


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], None]:
    def write_program(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    return write_program


def test_a_script_gets_the_assembled_runtime_and_its_arguments(
    run: Run, write: Callable[[str, str], None]
) -> None:
    write("program.py", PROGRAM)
    done = run("program.py", "--machine", "-m", "x y")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "42",
        "GuestLibrary wasmtime.component._linker __main__ ['--machine', '-m', 'x y']",
        "True True",
    ]
    assert done.returncode == 0


def test_a_module_is_found_where_the_command_was_given(
    run: Run, write: Callable[[str, str], None]
) -> None:
    write("package/__init__.py", "")
    write("package/__main__.py", PROGRAM + "    print(__package__, sys.argv[0] == __file__)")
    done = run("-m", "package", "-q", "--verbose")
    assert done.stdout.splitlines()[1].endswith("__main__ ['-q', '--verbose']")
    assert done.stdout.splitlines()[-1] == "package True"


def test_a_script_imports_its_neighbours(run: Run, write: Callable[[str, str], None]) -> None:
    write("folder/neighbour.py", "from wasmtime import Store")
    write("folder/program.py", "import neighbour; print(neighbour.Store())")
    assert run("folder/program.py").stdout.startswith("<wasmtime._store.Store object")


def test_an_uncaught_error_is_shown_as_python_shows_it(
    run: Run, write: Callable[[str, str], None]
) -> None:
    write(
        "program.py",
        """
        import wasmtime
        def fail():
            try:
                wasmtime.wat2wasm("(module")
            except wasmtime.WasmtimeError as error:
                raise KeyError("mine") from error
        fail()
        """,
    )
    done = run("program.py")
    assert done.returncode == 1
    assert done.stdout == ""
    frames = [line for line in done.stderr.splitlines() if line.startswith("  File ")]
    assert [frame.rpartition(" in ")[2] for frame in frames] == [
        *("fail", "wat2wasm", "<module>", "fail"),
    ]
    assert "theseus_kit" not in done.stderr
    assert done.stderr.endswith("KeyError: 'mine'\n")


def test_a_syntax_error_is_shown_without_frames(
    run: Run, write: Callable[[str, str], None]
) -> None:
    write("program.py", "print(")
    done = run("program.py")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("SyntaxError: '(' was never closed\n")


@pytest.mark.parametrize(
    ("statement", "status", "message"),
    [
        ("sys.exit(7)", 7, ""),
        ("sys.exit('a message')", 1, "a message\n"),
        ("sys.exit()", 0, ""),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt\n"),
    ],
)
def test_the_programs_exit_status_is_the_commands(
    run: Run, write: Callable[[str, str], None], statement: str, status: int, message: str
) -> None:
    write("program.py", f"import sys\n{statement}\n")
    done = run("program.py")
    assert done.returncode == status
    assert done.stderr.endswith(message)
    assert bool(done.stderr) == bool(message)


def test_exit_handlers_and_threads_still_have_the_runtime(
    run: Run, write: Callable[[str, str], None]
) -> None:
    write(
        "program.py",
        """
        import atexit, threading, time
        def late(who):
            import wasmtime
            store = wasmtime.Store()
            print(who, len(wasmtime.wat2wasm("(module)")), type(wasmtime._ffi.dll).__name__)
        def in_thread():
            threading.main_thread().join()
            late("thread")
        atexit.register(late, "exit")
        threading.Thread(target=in_thread).start()
        """,
    )
    done = run("program.py")
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["thread 8 GuestLibrary", "exit 8 GuestLibrary"]


def test_with_a_thread_of_its_own_the_runtime_serves_every_thread_of_the_program(
    run: Run, write: Callable[[str, str], None]
) -> None:
    write(
        "program.py",
        """
        import threading
        import wasmtime
        engine = wasmtime.Engine()
        module = wasmtime.Module(
            engine,
            '(module (import "wasi_snapshot_preview1" "fd_write"'
            ' (func $write (param i32 i32 i32 i32) (result i32)))'
            ' (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
            ' (memory (export "memory") 1) (data (i32.const 16) "hello\\\\0a")'
            ' (func (export "_start")'
            ' (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 6))'
            ' (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))'
            ' (call $exit (i32.const 3))))',
        )
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        def start():
            store = wasmtime.Store(engine)
            wasi = wasmtime.WasiConfig()
            wasi.inherit_stdout()
            store.set_wasi(wasi)
            try:
                linker.instantiate(store, module).exports(store)["_start"](store)
            except wasmtime.ExitTrap as end:
                print(end.code, threading.current_thread().name, flush=True)
        start()
        for number in range(2):
            thread = threading.Thread(target=start, name=str(number))
            thread.start()
            thread.join()
        """,
    )
    done = run("--own-thread", "program.py")
    assert done.stderr == ""
    expected = ["hello", "3 MainThread", "hello", "3 0", "hello", "3 1"]
    assert done.stdout.splitlines() == expected


def test_the_program_and_the_runtime_see_the_same_files_and_environment(
    run: Run, write: Callable[[str, str], None]
) -> None:
    write(
        "program.py",
        """
        import wasmtime
        from pathlib import Path
        engine = wasmtime.Engine()
        Path("module.cwasm").write_bytes(wasmtime.Module(engine, "(module)").serialize())
        for path in ("module.cwasm", str(Path("module.cwasm").absolute())):
            print(wasmtime.Module.deserialize_file(engine, path).exports)
        """,
    )
    done = run("program.py")
    assert done.stderr == ""
    assert done.stdout == "[]\n[]\n"


def test_dir_shows_the_runtime_less(run: Run, write: Callable[[str, str], None]) -> None:
    write("shown/placeholder", "")
    write(
        "program.py",
        """
        import wasmtime
        from pathlib import Path
        engine = wasmtime.Engine()
        for file in (Path("shown/module.cwasm"), Path("module.cwasm")):
            file.write_bytes(wasmtime.Module(engine, "(module)").serialize())
        print(wasmtime.Module.deserialize_file(engine, "/here/module.cwasm").exports)
        try:
            wasmtime.Module.deserialize_file(engine, str(Path("module.cwasm").absolute()))
        except wasmtime.WasmtimeError as error:
            print(str(error).splitlines()[0])
        """,
    )
    done = run("--dir", "shown::/here", "program.py")
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[]", "failed to open file"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a script to run, or a module with -m"),
        (("-m",), "-m needs the name of a module to run"),
        (("-m", "no_such_module"), "No module named no_such_module"),
        (("no/such.py",), "no/such.py: no such file or directory"),
        (("--mashine", "native", "x.py"), "no option --mashine: see theseus-kit python --help"),
        (("--dir", "nowhere", "-m", "this"), "--dir nowhere: nowhere is no directory"),
        (("--dir", ".::here", "-m", "this"), "--dir .::here: here must be an absolute path"),
    ],
)
def test_a_users_mistake_is_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr == f"theseus-kit: {message}\n"


def test_standing_in_ends_and_the_ordinary_package_is_back(machine: str) -> None:
    import wasmtime as ordinary

    from theseus_kit import assemble

    with assemble(machine=machine) as platform:
        runtime = platform.boot()
        with runtime.standing_in():
            import wasmtime as assembled
            import wasmtime.component as component

            assert assembled is runtime.wasmtime
            assert component is runtime.load_submodule("wasmtime.component")
            with pytest.raises(ModuleNotFoundError, match=r"wasmtime\.absent"):
                import wasmtime.absent
        import wasmtime as again

        assert again is ordinary
        # Compiling on the host still finds the host's library while a runtime stands in.
        with runtime.standing_in():
            assert runtime.compile_text("(module)", compile_on="host").exports == []
