"""Relocatable objects (``.o``), linked at run time into an image the loader takes as any other.

::

    a.o, b.o ─ object_file: sections, symbols, relocations, groups
             ─ resolution:  which definition each name means
             ─ layout:      an address for each section, by protection
             ─ slots:       the GOT and the PLT that the references need
             ─ references:  relocations written, or left to the loader
             ─ frames:      .eh_frame and its search table
             ─ writer:      a shared object in memory, with symbols, sections, debug information

Everything behind that (mapping near each other, binding names, thread-local storage, constructors,
symbols, unwinding, unloading) is what shared objects have already. Nothing here is imported before
the first relocatable object is loaded.
"""
