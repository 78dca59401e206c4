"""What the wrong providers of path handling have alike."""

from theseus_kit.hookspecs import hookimpl
from theseus_kit_path import PathPlugin


class LooseFile:
    """An open file whose answers a mutant changes."""

    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)


class FileMutant(PathPlugin):
    file_class = LooseFile

    @hookimpl
    def path_open(self, path, mode, permissions):
        return self.file_class(super().path_open(path, mode, permissions))
