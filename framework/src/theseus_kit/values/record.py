"""How values with fields are defined: as ``typing.NamedTuple`` does it, in a third of the time.

Every start of the command line defines some eighty of them. ``typing.NamedTuple`` compiles the text
of each field's annotation, which nothing here reads at run time; this one leaves it as it stands.
For a type checker the two are one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from collections import namedtuple

    _OWN = frozenset({"__annotations__", "__module__"})
    """What a class's body holds that namedtuple is told of, or that is set apart."""

    class _Definition(type):
        """Makes a tuple's class of what is written like a class with annotated fields."""

        def __new__(meta, name, bases, body):
            if not bases:
                return super().__new__(meta, name, bases, body)
            fields = body.get("__annotations__", {})
            defaults = [body[field] for field in fields if field in body]
            if not all(field in body for field in [*fields][len(fields) - len(defaults) :]):
                raise TypeError(f"{name}: a field without a default follows one with a default")
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            made.__annotations__ = fields
            for key, value in body.items():
                if key not in _OWN and key not in fields:
                    setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_Definition):
        """The base to write; the class that is made of it derives from tuple alone."""
