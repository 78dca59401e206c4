"""A suite runner for a platform, with modules compiled in the guest or on the host's CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from theseus_kit.runtime.artifacts import TARGET, CompileOn, compiler_flags
from theseus_kit.testing.wast.configuration import spec_config
from theseus_kit.testing.wast.runner import SpecRunner

if TYPE_CHECKING:
    from theseus_kit.platform import Platform


def platform_runner(platform: Platform, compile_on: CompileOn = "guest") -> SpecRunner:
    """Return a runner of the suite on a platform, which boots if it has not yet.

    With ``compile_on="host"`` the ordinary ``wasmtime`` package converts text and compiles, for
    the features of the platform's machine, and the guest only deserialises and runs; it must be
    of the version the platform booted. Validation stays the guest's in both cases.
    """
    api: Any = platform.wasmtime
    if compile_on == "guest":
        return SpecRunner(api)
    import wasmtime

    host: Any = wasmtime
    config = spec_config(host)
    config.target = TARGET
    for flag in compiler_flags(platform.machine.cpu_features):
        config.cranelift_flag_enable(flag)
    host_engine = host.Engine(config)
    engine = api.Engine(spec_config(api))

    def compile_module(wasm: bytes) -> Any:
        return api.Module.deserialize(engine, bytes(host.Module(host_engine, wasm).serialize()))

    return SpecRunner(
        api,
        engine=engine,
        compile_module=compile_module,
        convert_text=lambda text: bytes(host.wat2wasm(text)),
        errors=(host.WasmtimeError,),
    )
