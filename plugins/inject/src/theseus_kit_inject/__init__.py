"""Fault injection for theseus-kit: hooks, C functions and system calls that fail on purpose."""

from theseus_kit_inject.plugin import Injection, InjectPlugin, Options
from theseus_kit_inject.rules import Action, InjectedError, Rule

__all__ = ["Action", "InjectPlugin", "InjectedError", "Injection", "Options", "Rule"]
