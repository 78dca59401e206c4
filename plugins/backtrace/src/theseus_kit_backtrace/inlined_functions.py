"""The functions of one compilation unit, and which of them are inlined at an address.

::

    DW_TAG_subprogram            [0x100, 0x180)   outer
      DW_TAG_lexical_block
        DW_TAG_inlined_subroutine [0x110, 0x140)  middle, called in line 7 of outer's file
          DW_TAG_inlined_subroutine [0x118, 0x120) inner, called in line 3

Source: DWARF 5, 3.3.8 (inlined subroutines), 2.17 (ranges), 2.13 (specifications).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from theseus_kit.values.record import NamedTuple

_FUNCTION, _INLINED = "DW_TAG_subprogram", "DW_TAG_inlined_subroutine"
_SCOPES = frozenset(
    (
        *("DW_TAG_namespace", "DW_TAG_module", "DW_TAG_structure_type", "DW_TAG_class_type"),
        *("DW_TAG_union_type", "DW_TAG_enumeration_type", "DW_TAG_subprogram"),
    )
)
"""What functions with code may be declared inside of."""
_BLOCKS = frozenset((_INLINED, "DW_TAG_lexical_block", "DW_TAG_try_block", "DW_TAG_catch_block"))
_MOST_ENTRIES = 1 << 21
_DEEPEST = 256
_MOST_REFERENCES = 8


class Function(NamedTuple):
    """A function at an address; where it was called from, if it is inlined."""

    name: str | None
    is_linkage_name: bool
    start: int | None
    call_file: int | None
    call_line: int | None
    call_column: int | None


class UnitFunctions:
    """The functions of a unit that have code, by address; their insides are read when asked."""

    def __init__(self, unit: Any) -> None:
        self._unit = unit
        self._entries = 0
        found: list[tuple[int, int, int]] = []
        self._collect(unit.get_top_DIE(), found, 0)
        found.sort()
        self._functions = found

    def at(self, address: int) -> list[Function]:
        """The functions at an address, innermost first."""
        index = bisect_right(self._functions, (address, 1 << 64, 0)) - 1
        if index < 0 or address >= self._functions[index][1]:
            return []
        die = self._unit.get_DIE_from_refaddr(self._functions[index][2])
        chain = [die]
        self._descend(die, address, chain, 0)
        return [_describe(entry) for entry in reversed(chain)]

    def _collect(self, die: Any, found: list[tuple[int, int, int]], depth: int) -> None:
        for child in self._children(die):
            if child.tag == _FUNCTION:
                for start, end in code_ranges(child):
                    if start < end:
                        found.append((start, end, child.offset))
            if (
                child.tag in _SCOPES
                and child.has_children
                and depth < _DEEPEST
                and (child.tag != _FUNCTION or _may_nest(child))
            ):
                self._collect(child, found, depth + 1)

    def _descend(self, die: Any, address: int, chain: list[Any], depth: int) -> None:
        for child in self._children(die):
            if child.tag in _BLOCKS and _holds(child, address):
                if child.tag == _INLINED:
                    chain.append(child)
                if child.has_children and depth < _DEEPEST:
                    self._descend(child, address, chain, depth + 1)
                return

    def _children(self, die: Any) -> Iterator[Any]:
        """The children of an entry; a table whose siblings lead back ends."""
        last = die.offset
        for child in die.iter_children():
            self._entries += 1
            if child.offset <= last or self._entries > _MOST_ENTRIES:
                return
            last = child.offset
            yield child


def code_ranges(die: Any) -> list[tuple[int, int]]:
    """The ranges of code that an entry covers; none where it says nothing."""
    attributes = die.attributes
    low = attributes.get("DW_AT_low_pc")
    high = attributes.get("DW_AT_high_pc")
    if low is not None and high is not None:
        end = high.value if high.form == "DW_FORM_addr" else low.value + high.value
        return [(low.value, end)]
    ranges = attributes.get("DW_AT_ranges")
    if ranges is None:
        return []
    return _range_list(die, ranges)


def _range_list(die: Any, attribute: Any) -> list[tuple[int, int]]:
    unit = die.cu
    lists = unit.dwarfinfo.range_lists()
    if lists is None:
        return []
    top = unit.get_top_DIE().attributes.get("DW_AT_low_pc")
    base = top.value if top is not None else 0
    found = []
    if unit.header["version"] >= 5:
        entries = lists.get_range_list_at_offset(attribute.value, cu=unit)
    else:
        entries = lists.get_range_list_at_offset(attribute.value)
    for entry in entries:
        if hasattr(entry, "base_address"):
            base = entry.base_address
        else:
            offset = 0 if getattr(entry, "is_absolute", False) else base
            found.append((entry.begin_offset + offset, entry.end_offset + offset))
    return found


def _holds(die: Any, address: int) -> bool:
    ranges = code_ranges(die)
    if not ranges:  # a block without code of its own: look inside
        return bool(die.tag != _INLINED)
    return any(start <= address < end for start, end in ranges)


def _may_nest(die: Any) -> bool:
    """Whether another function may be declared inside: Rust's and C++'s local ones."""
    return "DW_AT_sibling" in die.attributes or "DW_AT_low_pc" in die.attributes


def _describe(die: Any) -> Function:
    name, is_linkage_name = _name_of(die)
    attributes = die.attributes
    start = None
    if "DW_AT_entry_pc" in attributes or die.tag == _FUNCTION or "DW_AT_low_pc" in attributes:
        ranges = code_ranges(die)
        start = ranges[0][0] if ranges else None
    return Function(
        name,
        is_linkage_name,
        start,
        *(
            attributes[key].value if key in attributes else None
            for key in ("DW_AT_call_file", "DW_AT_call_line", "DW_AT_call_column")
        ),
    )


def _name_of(die: Any) -> tuple[str | None, bool]:
    """A function's linkage name, else its name, from whichever entry has it."""
    plain: str | None = None
    for _ in range(_MOST_REFERENCES):
        attributes = die.attributes
        for key in ("DW_AT_linkage_name", "DW_AT_MIPS_linkage_name"):
            if key in attributes:
                return attributes[key].value.decode("utf-8", "replace"), True
        if plain is None and "DW_AT_name" in attributes:
            plain = attributes["DW_AT_name"].value.decode("utf-8", "replace")
        for key in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if key in attributes:
                die = die.get_DIE_from_attribute(key)
                break
        else:
            break
    return plain, False
