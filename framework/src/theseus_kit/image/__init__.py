"""Images: loading ELF shared objects into a machine, binding them to what plugins provide."""

from theseus_kit.image.elf import ElfFile, Section, Segment
from theseus_kit.image.image import Image
from theseus_kit.image.namespace import Namespace

__all__ = ["ElfFile", "Image", "Namespace", "Section", "Segment"]
