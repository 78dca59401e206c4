"""Wasmtime on a platform: wasmtime-py's own API, bound to the guest library."""

from theseus_kit.runtime.runtime import Runtime

__all__ = ["Runtime"]
