"""The plugin alone behind real hooks: it asks nothing of a machine or of other plugins."""

import pluggy
import pytest

from theseus_kit.hookspecs import PROJECT, Open, PathHandling
from theseus_kit.values.paths import Mount, OpenMode
from theseus_kit_path import Path, PathPlugin
from theseus_kit_path.provider import Options


class Files:
    """The path hooks with text for paths, as a C face would call them."""

    def __init__(self, hooks):
        self.hooks = hooks

    def mount(self, source, target, *, writable=False):
        self.hooks.path_mount(mount=Mount(source, target, writable))

    def unmount(self, target):
        self.hooks.path_unmount(target=target)

    def open(self, text, mode=OpenMode.READ, permissions=0o644):
        return self.hooks.path_open(path=Path(text), mode=mode, permissions=permissions)

    def read(self, text, mode=OpenMode.READ):
        file = self.open(text, mode)
        try:
            return file.read()
        finally:
            file.close()

    def write(self, text, data, mode=OpenMode.WRITE | OpenMode.CREATE | OpenMode.TRUNCATE):
        file = self.open(text, mode)
        try:
            return file.write(data)
        finally:
            file.close()

    def resolve(self, text, follow=True):
        return str(self.hooks.path_resolve(path=Path(text), follow=follow))

    def status(self, text, follow=True):
        return self.hooks.path_status(path=Path(text), follow=follow)

    def names(self, text):
        return [entry.name for entry in self.list(text)]

    def list(self, text):
        return self.hooks.path_list(path=Path(text))

    def make_directory(self, text, permissions=0o755):
        self.hooks.path_create_directory(path=Path(text), permissions=permissions)

    def rename(self, source, target):
        self.hooks.path_rename(source=Path(source), target=Path(target))

    def remove(self, text, directory=False):
        self.hooks.path_remove(path=Path(text), directory=directory)


@pytest.fixture
def files():
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(PathHandling)
    manager.add_hookspecs(Open)
    manager.register(PathPlugin(services=None, options=Options()))
    manager.check_pending()
    yield Files(manager.hook)
    manager.hook.platform_closed()


@pytest.fixture
def inside(tmp_path):
    """A host directory to mount; what lies beside it must stay out of reach."""
    directory = tmp_path / "inside"
    directory.mkdir()
    (tmp_path / "secret").write_text("secret")
    return directory
