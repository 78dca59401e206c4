"""From files to modules: formats, errors, the cache; on whole platforms."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from theseus_kit import ModuleError, Platform, assemble
from theseus_kit.values.paths import Mount

ADD = '(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))'


@pytest.fixture(scope="module")
def folder(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A host folder that the platform sees as /modules."""
    path = tmp_path_factory.mktemp("modules")
    platform.hooks.path_mount(mount=Mount(path, "/modules"))
    yield path
    platform.hooks.path_unmount(target="/modules")


@pytest.fixture
def cache(platform: Platform, tmp_path: Path) -> Iterator[Path]:
    """An empty host folder that the platform sees as /cache, for one test."""
    path = tmp_path / "cache"
    path.mkdir()
    platform.hooks.path_mount(mount=Mount(path, "/cache", writable=True))
    yield path
    platform.hooks.path_unmount(target="/cache")


def add(platform: Platform, module: Any, *numbers: int) -> int:
    runtime = platform.boot()
    store = runtime.wasmtime.Store(runtime.engine)
    result: int = runtime.wasmtime.Instance(store, module, []).exports(store)["add"](
        store, *numbers
    )
    return result


def binary() -> bytes:
    import wasmtime

    return bytes(wasmtime.wat2wasm(ADD))


@pytest.mark.parametrize("compile_on", ["host", "guest"])
@pytest.mark.parametrize("form", ["text", "binary", "artifact"])
def test_every_form_of_a_module_runs(
    platform: Platform, folder: Path, form: str, compile_on: Any
) -> None:
    if form == "artifact":
        content = bytes(platform.boot().compile_text(ADD).serialize())
    else:
        content = ADD.encode() if form == "text" else binary()
    (folder / f"{form}-{compile_on}").write_bytes(content)
    module = platform.boot().load_module(f"/modules/{form}-{compile_on}", compile_on=compile_on)
    assert add(platform, module, 40, 2) == 42


BAD_MODULES = {
    "empty": (b"", "is empty"),
    "picture.png": (b"\x89PNG\r\n\x1a\n", "is no WebAssembly module"),
    "truncated": (binary()[:-7], "unexpected end"),
    "invalid": (b"\0asm\x01\0\0\0\x7f\x01\x00", "malformed section id"),
    "component": (b"\0asm\x0d\0\x01\0", "is a component, not a module"),
    "comment.wat": (b";; a (comment\n(; and (; this ;) ;)\n(module (func (result i32)))", "type"),
    "typo.wat": (b"(module\n  (fnc))", r"typo\.wat:2:4: "),
    "elf": (b"\x7fELF" + bytes(100), "elf: "),
}


@pytest.mark.parametrize("name", BAD_MODULES)
@pytest.mark.parametrize("compile_on", ["host", "guest"])
def test_a_bad_module_is_one_line_that_names_it(
    platform: Platform, folder: Path, name: str, compile_on: Any
) -> None:
    content, message = BAD_MODULES[name]
    (folder / name).write_bytes(content)
    with pytest.raises(ModuleError, match=message) as caught:
        platform.boot().load_module(f"/modules/{name}", compile_on=compile_on, display_name=name)
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_exist_is_named(platform: Platform, folder: Path) -> None:
    with pytest.raises(ModuleError, match="absent: cannot be read: No such file or directory"):
        platform.boot().load_module("/modules/absent", display_name="absent")


def test_an_artifact_for_avx_is_refused_with_wasmtimes_message(
    platform: Platform, folder: Path
) -> None:
    if "has_avx" in platform.machine.cpu_features:
        pytest.skip("this machine has AVX")
    import wasmtime

    config = wasmtime.Config()
    config.target = "x86_64-unknown-linux-gnu"
    for flag in ("has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_avx"):
        config.cranelift_flag_enable(flag)
    artifact = wasmtime.Module(wasmtime.Engine(config), ADD).serialize()
    (folder / "avx.cwasm").write_bytes(artifact)
    with pytest.raises(ModuleError, match=r'avx\.cwasm: .*"has_avx" is enabled, but not available'):
        platform.boot().load_module("/modules/avx.cwasm")


def test_settings_reach_both_compilers(platform: Platform, folder: Path, cache: Path) -> None:
    (folder / "add.wat").write_text(ADD)
    runtime = platform.boot()
    settings = {"consume_fuel": True}
    for _ in range(2):  # compiled, then cached
        module = runtime.load_module("/modules/add.wat", settings=settings, cache="/cache")
        store = runtime.wasmtime.Store(runtime.engine_with(settings))
        store.set_fuel(1000)
        exports = runtime.wasmtime.Instance(store, module, []).exports(store)
        assert exports["add"](store, 1, 2) == 3
        assert 0 < store.get_fuel() < 1000


def test_an_unknown_setting_is_refused_by_name(platform: Platform) -> None:
    with pytest.raises(ModuleError, match="no setting 'fuel'"):
        platform.boot().compile_text(ADD, settings={"fuel": True})


def test_what_was_compiled_is_cached_once(platform: Platform, folder: Path, cache: Path) -> None:
    (folder / "add.wat").write_text(ADD)
    load = platform.boot().load_module
    assert add(platform, load("/modules/add.wat", cache="/cache"), 1, 2) == 3
    (artifact,) = cache.iterdir()
    written = artifact.stat().st_mtime_ns
    assert add(platform, load("/modules/add.wat", cache="/cache"), 3, 4) == 7
    assert [entry.stat().st_mtime_ns for entry in cache.iterdir()] == [written]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"something else entirely" * 100,
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    ],
    ids=["truncated", "empty", "foreign", "one bit"],
)
def test_a_damaged_artifact_is_compiled_anew(
    platform: Platform, folder: Path, cache: Path, damage: Any
) -> None:
    (folder / "add.wat").write_text(ADD)
    load = platform.boot().load_module
    load("/modules/add.wat", cache="/cache")
    (artifact,) = cache.iterdir()
    sound = artifact.read_bytes()
    artifact.write_bytes(damage(sound))
    assert add(platform, load("/modules/add.wat", cache="/cache"), 20, 22) == 42
    assert artifact.read_bytes()[:24] == sound[:24]
    assert len(artifact.read_bytes()) == len(sound)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    platform: Platform, folder: Path, tmp_path: Path
) -> None:
    (folder / "add.wat").write_text(ADD)
    load = platform.boot().load_module
    assert add(platform, load("/modules/add.wat", cache="/absent"), 1, 1) == 2
    platform.hooks.path_mount(mount=Mount(tmp_path, "/readonly"))
    try:
        assert add(platform, load("/modules/add.wat", cache="/readonly"), 1, 1) == 2
    finally:
        platform.hooks.path_unmount(target="/readonly")
    assert list(tmp_path.iterdir()) == []


def test_a_cached_artifact_spares_the_import_of_the_hosts_wasmtime(
    machine: str, tmp_path: Path
) -> None:
    (tmp_path / "add.wat").write_text(ADD)
    script = f"""
import sys
from pathlib import Path
from theseus_kit import assemble
from theseus_kit.values.paths import Mount
with assemble(machine={machine!r}) as platform:
    platform.hooks.path_mount(mount=Mount(Path({str(tmp_path)!r}), "/m", writable=True))
    platform.boot().load_module("/m/add.wat", cache="/m")
print(*[name for name in sys.modules if name.partition(".")[0] == "wasmtime"])
"""
    runs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert "wasmtime" in runs[0].stdout
    assert runs[1].stdout.split() == []


def test_each_platform_has_an_api_of_its_own(machine: str) -> None:
    import wasmtime

    with assemble(machine=machine) as first, assemble(machine=machine) as second:
        apis = [first.wasmtime, second.wasmtime, wasmtime]
        assert len({api.Store for api in apis}) == 3
        stores = [api.Store() for api in apis]
        for api, store in zip(apis, stores, strict=True):
            module = api.Module(store.engine, ADD)
            assert api.Instance(store, module, []).exports(store)["add"](store, 1, 2) == 3
