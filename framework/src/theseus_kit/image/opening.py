"""From a host path to a shared object that can be loaded, linked first where it is relocatable."""

from __future__ import annotations

import os
from collections.abc import Callable

from theseus_kit.image.elf import ElfFile
from theseus_kit.image.elf_header import is_relocatable, map_file


def _nobody(_: str) -> bool:
    return False


def open_image(
    path: str | os.PathLike[str], is_defined_by_object: Callable[[str], bool] = _nobody
) -> ElfFile:
    """Open a shared object or a relocatable one; the caller closes it. Raises ImageError.

    ``is_defined_by_object`` tells whether an object that is loaded already defines a name.
    """
    host_path, descriptor, contents = map_file(path)
    if is_relocatable(contents):
        os.close(descriptor)
        # Imported here: no boot links objects.
        from theseus_kit.image.objects.link import link_objects

        return link_objects([path], is_defined_by_object)
    try:
        return ElfFile(host_path, contents, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
