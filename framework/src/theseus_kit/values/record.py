"""How values with fields are defined: as ``typing.NamedTuple`` does it, in a fifth of the time.

Every start of the command line defines some eighty of them. ``typing.NamedTuple`` compiles the text
of each field's annotation, which nothing here reads at run time, and ``namedtuple`` compiles a
constructor and makes six methods for each class. Here annotations are left as they stand, classes
with as many fields share the constructor's code but for the names, and all share their methods. For
a type checker it is ``typing.NamedTuple``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from collections import _tuplegetter as field_getter
    from functools import lru_cache
    from types import FunctionType

    _SCOPE = {"_new": tuple.__new__, "__builtins__": {}, "__name__": __name__}

    @lru_cache(maxsize=64)
    def _constructor_code(count):
        """The code of a constructor that takes so many values."""
        names = "".join(f"_{place}, " for place in range(count))
        return eval(f"lambda _cls, {names}: _new(_cls, ({names}))", {}).__code__

    def _make(cls, iterable):
        """Make one of the values of an iterable."""
        made = tuple.__new__(cls, iterable)
        if len(made) != len(cls._fields):
            raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
        return made

    def _replace(self, /, **changes):
        """Return another with some fields changed."""
        made = self._make(map(changes.pop, self._fields, self))
        if changes:
            raise ValueError(f"Got unexpected field names: {list(changes)!r}")
        return made

    def __repr__(self):  # noqa: N807  # a method's name
        pairs = zip(self._fields, self, strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in pairs)})"

    def _asdict(self):
        """Return the values by field."""
        return dict(zip(self._fields, self, strict=True))

    def __getnewargs__(self):  # noqa: N807
        return tuple(self)

    _METHODS = {
        "__slots__": (),
        "_make": classmethod(_make),
        "_replace": _replace,
        "__replace__": _replace,  # what copy.replace calls, from Python 3.13 on
        "__repr__": __repr__,
        "_asdict": _asdict,
        "__getnewargs__": __getnewargs__,
    }

    class _Definition(type):
        """Makes a tuple's class of what is written like a class with annotated fields."""

        def __new__(meta, name, bases, body):
            if not bases:
                return super().__new__(meta, name, bases, body)
            annotations = body.get("__annotations__", {})
            fields = tuple(annotations)
            defaults = {field: body[field] for field in fields if field in body}
            if fields[len(fields) - len(defaults) :] != tuple(defaults):
                raise TypeError(f"{name}: a field without a default follows one with a default")
            code = _constructor_code(len(fields)).replace(
                co_name="__new__", co_varnames=("_cls", *fields)
            )
            new = FunctionType(code, _SCOPE, "__new__", tuple(defaults.values()))
            new.__qualname__ = f"{name}.__new__"
            return type(
                name,
                (tuple,),
                {
                    "__doc__": f"{name}({', '.join(fields)})",
                    **_METHODS,
                    **body,
                    "__new__": new,
                    "_fields": fields,
                    "_field_defaults": defaults,
                    "__match_args__": fields,
                    **{field: field_getter(place, None) for place, field in enumerate(fields)},
                },
            )

    class NamedTuple(metaclass=_Definition):
        """The base to write; the class that is made of it derives from tuple alone."""
