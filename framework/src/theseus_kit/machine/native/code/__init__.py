"""The host machine code through which Python and guest code reach each other.

It is kept as listings, bytes beside their assembly, one module for each direction:

- :mod:`.entering`: from Python to guest code and back, and how guest code is killed;
- :mod:`.leaving`: from guest code to a Python function and back;
- :mod:`.signals`: from guest code to Python because of a fault, a ``syscall`` or a timer;
- :mod:`.mapping`: what guest code does with its memory without Python;
- :mod:`.processor`: what only an instruction can tell.

A line of a listing is ``bytes | assembly  ; comment``. ``@`` among the bytes stands for the 32-bit
distance to the label or the datum that the assembly names; :func:`link` fills it in. Upper-case
names are offsets and numbers of :mod:`theseus_kit.machine.native.layout`.
"""

from __future__ import annotations

from theseus_kit.machine.native.code.link import Linked, link

__all__ = ["Linked", "link"]
