"""What is left of a platform's guest: ELF core files, for debuggers and for a later look.

Import from the modules: :mod:`~theseus_kit.postmortem.core_file` writes one,
:mod:`~theseus_kit.postmortem.core_reader` reads one.
"""
