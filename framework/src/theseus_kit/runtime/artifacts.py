"""From a module's file to a ``Module``: read, compile on the host or in the guest, keep the result.

A module compiles fastest on the host's own CPU, for the processor features the machine has; what
comes out is deserialised in the guest, and cached. The host's compiler is that of the same wheel:
artifacts of another version are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from theseus_kit.errors import ModuleError, PlatformError
from theseus_kit.runtime.cache import ArtifactCache, digest, read_file
from theseus_kit.runtime.package import PrivatePackage
from theseus_kit.runtime.wheel import Wheel, find_wheel

if TYPE_CHECKING:
    from pluggy import HookRelay

TARGET = "x86_64-unknown-linux-gnu"
"""What the guest is, whatever the host is."""

CompileOn: TypeAlias = Literal["host", "guest"]

Settings: TypeAlias = Mapping[str, bool | int | str]
"""Properties of wasmtime-py's ``Config`` by name: ``{"consume_fuel": True}``."""

_API, _COMPONENT_API = "wasmtime", "wasmtime.component"
_BINARY, _COMPONENT = b"\0asm", b"\0asm\x0d\0\x01\0"
_ELF = b"\x7fELF"
_ELF_FLAGS = slice(48, 52)  # e_flags of the ELF header
_COMPONENT_ARTIFACT = 1 << 1  # EF_WASMTIME_COMPONENT of wasmtime-environ
# Patterns that most runs have no use for, compiled where one has.
_TEXT_START = rb"(?s:\s|;;[^\n]*(?:\n|$)|\(;.*?;\))*\("
_TEXT_POSITION = r"\s*--> <anon>:(\d+):(\d+)"


class ModuleLoader:
    """Makes modules and components for one runtime. ``load`` returns the guest's API by name."""

    def __init__(
        self,
        hooks: HookRelay,
        wheel: Wheel,
        load: Callable[[str], ModuleType],
        cpu_features: Iterable[str],
    ) -> None:
        self._hooks = hooks
        self._wheel = wheel
        self._wasmtime: Any = load(_API)
        self._load_api = load
        self._flags = compiler_flags(cpu_features)
        self._host: Callable[[str], Any] | None = None
        self._has_host = True

    def read(self, path: str, name: str) -> bytes:
        """Return a file's content. Raises ModuleError, which calls the file ``name``."""
        try:
            return read_file(self._hooks, self._hooks.path_parse(text=path))
        except PlatformError as error:
            import os

            raise ModuleError(f"{name}: cannot be read: {os.strerror(error.errno)}") from error

    def load(
        self,
        content: bytes,
        engine: Any,
        *,
        settings: Settings,
        compile_on: CompileOn,
        cache: str | None,
        name: str,
    ) -> Any:
        """Return the module or component of text, binary or artifact.

        See :meth:`Runtime.load_module`.
        """
        _check_kind(content, name)
        try:
            if content.startswith(_ELF):
                return self._deserialize(content, engine)
            if compile_on == "guest":
                return self._compile_in_guest(content, engine, name)
            artifacts = None if cache is None else ArtifactCache(self._hooks, cache)
            identity = "" if artifacts is None else self._identity(content, settings)
            module = None if artifacts is None else self._cached(artifacts, identity, engine)
            if module is not None:
                return module
            host = self._host_compiler()
            if host is None:
                return self._compile_in_guest(content, engine, name)
            artifact = self._compile_on_host(host, content, settings, name)
            if artifacts is not None:
                artifacts.store(identity, artifact)
            return self._deserialize(artifact, engine)
        except self._wasmtime.WasmtimeError as error:
            raise ModuleError(f"{name}: {one_line(str(error))}") from error

    def is_component(self, loaded: Any) -> bool:
        """Say whether what :meth:`load` returned is a component."""
        return not isinstance(loaded, self._wasmtime.Module)

    def _deserialize(self, artifact: bytes, engine: Any) -> Any:
        return _class_for(artifact, self._load_api).deserialize(engine, artifact)

    def _cached(self, artifacts: ArtifactCache, identity: str, engine: Any) -> Any:
        artifact = artifacts.load(identity)
        if artifact is None:
            return None
        try:
            return self._deserialize(artifact, engine)
        except self._wasmtime.WasmtimeError:
            # Whole, of this very identity, and refused all the same: made by a library that
            # differs from this one in something the identity does not know.
            return None

    def _compile_in_guest(self, content: bytes, engine: Any, name: str) -> Any:
        binary = _binary(content, name, self._wasmtime)
        return _class_for(binary, self._load_api)(engine, binary)

    def _compile_on_host(
        self, load: Callable[[str], Any], content: bytes, settings: Settings, name: str
    ) -> bytes:
        """Return the artifact. Raises ModuleError with Wasmtime's own message."""
        host = load(_API)
        binary = _binary(content, name, host)
        try:
            config = host.Config()
            aim_at_guest(host._ffi, config, self._flags)
            configure(config, settings)
            return bytes(_class_for(binary, load)(host.Engine(config), binary).serialize())
        except host.WasmtimeError as error:
            raise ModuleError(f"{name}: {one_line(str(error))}") from error

    def _host_compiler(self) -> Callable[[str], Any] | None:
        """Return what loads the API of the same wheel's host library; None without one."""
        if self._host is None and self._has_host:
            try:
                self._host = _host_package(self._wheel)
            except (ImportError, OSError, RuntimeError):
                self._has_host = False  # another processor or system: the guest compiles for itself
        return self._host

    def _identity(self, content: bytes, settings: Settings) -> str:
        chosen = sorted(f"{name}={value!r}" for name, value in settings.items())
        return "\n".join(
            (
                f"wasmtime {self._wheel.version}",
                f"target {TARGET}",
                f"features {' '.join(self._flags)}",
                f"settings {' '.join(chosen)}",
                f"module {digest(content).hex()}",
            )
        )


def _check_kind(content: bytes, name: str) -> None:
    """Raise ModuleError for what is no module at all."""
    if not content:
        raise ModuleError(f"{name}: is empty")
    if not (content.startswith((_BINARY, _ELF)) or re.match(_TEXT_START, content)):
        raise ModuleError(f"{name}: is no WebAssembly module: neither binary, text nor precompiled")


def _binary(content: bytes, name: str, wasmtime: Any) -> bytes:
    """Convert text with Wasmtime's own parser. Raises ModuleError with its message."""
    if content.startswith(_BINARY):
        return content
    try:
        return bytes(wasmtime.wat2wasm(content))
    except wasmtime.WasmtimeError as error:
        raise ModuleError(_text_error(str(error), name)) from error


def compiler_flags(cpu_features: Iterable[str]) -> tuple[str, ...]:
    """Return which of a machine's ``cpu_features`` Wasmtime accepts in an artifact, sorted.

    It asks Rust's ``is_x86_feature_detected``, which reports BMI1 and BMI2 (VEX-encoded) only
    where the system saves AVX state.
    """
    features = set(cpu_features)
    if "has_avx" not in features:
        features -= {"has_bmi1", "has_bmi2"}
    return tuple(sorted(features))


def aim_at_guest(ffi: Any, config: Any, flags: Iterable[str]) -> None:
    """Make a ``Config`` compile for the guest with these Cranelift flags.

    By the C functions, which all versions of the package have; ``Config.target`` is of 43.
    """
    error = ffi.wasmtime_config_target_set(config.ptr(), TARGET.encode())
    if error:
        raise ModuleError(f"the host's wasmtime cannot compile for {TARGET}: compile in the guest")
    for flag in flags:
        ffi.wasmtime_config_cranelift_flag_enable(config.ptr(), flag.encode())


def configure(config: Any, settings: Settings) -> None:
    """Set properties of a ``Config`` by name. Raises ModuleError for one it does not have."""
    for name, value in settings.items():
        if not isinstance(getattr(type(config), name, None), property):
            raise ModuleError(f"Wasmtime's Config has no setting {name!r}")
        setattr(config, name, value)


def one_line(message: str) -> str:
    """Join the lines of a Wasmtime error, "Caused by:" and all, into one."""
    lines = [line.strip() for line in message.splitlines()]
    return ": ".join(line for line in lines if line and line != "Caused by:")


def _text_error(message: str, name: str) -> str:
    """Put the position that wat2wasm draws below its message in front of it, as compilers do."""
    position = re.search(_TEXT_POSITION, message)
    if position is None:
        return f"{name}: {one_line(message)}"
    line, column = position.groups()
    return f"{name}:{line}:{column}: {one_line(message[: position.start()])}"


def _class_for(content: bytes, load: Callable[[str], Any]) -> Any:
    """Return the class of a binary or an artifact: ``Module``, or ``Component``."""
    flags = int.from_bytes(content[_ELF_FLAGS], "little") if content.startswith(_ELF) else 0
    if content.startswith(_COMPONENT) or flags & _COMPONENT_ARTIFACT:
        return load(_COMPONENT_API).Component
    return load(_API).Module


def _host_package(wheel: Wheel) -> Callable[[str], Any]:
    installed = find_wheel()
    if installed.package == wheel.package:
        from ctypes import CDLL
        from importlib import import_module

        import wasmtime

        if isinstance(wasmtime._ffi.dll, CDLL):  # and no runtime that stands in for the package
            return import_module
    package = PrivatePackage(_API, wheel.package)
    package.load()
    return package.load
