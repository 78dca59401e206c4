"""The plugin alone behind real hooks: it asks nothing of a machine or of other plugins."""

from contextlib import ExitStack, contextmanager

import pluggy
import pytest

from theseus_kit.hookspecs import PROJECT, Open, PathHandling
from theseus_kit.values.paths import (
    Bounds,
    MemoryMount,
    Mount,
    OpenMode,
    PathAt,
    StatusChange,
)
from theseus_kit_path import PathPlugin
from theseus_kit_path.provider import Options


class Files:
    """The path hooks with text for paths, as a C face would call them. A path that is no text is
    a location already, such as :meth:`at` makes."""

    def __init__(self, hooks):
        self.hooks = hooks

    def path(self, text):
        return self.hooks.path_parse(text=text) if isinstance(text, str) else text

    def at(self, directory, text, bounds=Bounds.NAMESPACE):
        return PathAt(directory, self.path(text), bounds)

    def mount(self, source, target, *, writable=False):
        self.hooks.path_mount(mount=Mount(source, target, writable))

    def mount_memory(self, target, limit=1 << 20):
        self.hooks.path_mount(mount=MemoryMount(target, limit))

    def unmount(self, target):
        self.hooks.path_unmount(target=target)

    def open(self, text, mode=OpenMode.READ, permissions=0o644):
        return self.hooks.path_open(path=self.path(text), mode=mode, permissions=permissions)

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
        return str(self.hooks.path_resolve(path=self.path(text), follow=follow))

    def status(self, text, follow=True):
        return self.hooks.path_status(path=self.path(text), follow=follow)

    def change(self, text, follow=True, **changes):
        change = StatusChange(**changes)
        self.hooks.path_change(path=self.path(text), change=change, follow=follow)

    def names(self, text):
        return [entry.name for entry in self.list(text)]

    def list(self, text):
        return self.hooks.path_list(path=self.path(text))

    def make_directory(self, text, permissions=0o755):
        self.hooks.path_create_directory(path=self.path(text), permissions=permissions)

    def make_link(self, path, text):
        self.hooks.path_create_link(path=self.path(path), text=text)

    def read_link(self, text):
        return self.hooks.path_read_link(path=self.path(text))

    def link(self, source, target, follow=False):
        source, target = self.path(source), self.path(target)
        self.hooks.path_link(source=source, target=target, follow=follow)

    def rename(self, source, target):
        self.hooks.path_rename(source=self.path(source), target=self.path(target))

    def remove(self, text, directory=False):
        self.hooks.path_remove(path=self.path(text), directory=directory)


@contextmanager
def provided(plugin, options=None):
    """The path hooks of a provider, closed at the end."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(PathHandling)
    manager.add_hookspecs(Open)
    manager.register(plugin(services=None, options=options or Options()))
    manager.check_pending()
    yield Files(manager.hook)
    manager.hook.platform_closed()


@pytest.fixture
def provide():
    """Make a provider's hooks: ``provide(PathPlugin, options)``; they are closed at the end."""
    with ExitStack() as stack:
        yield lambda plugin, options=None: stack.enter_context(provided(plugin, options))


@pytest.fixture
def files(provide):
    return provide(PathPlugin)


@pytest.fixture
def inside(tmp_path):
    """A host directory to mount; what lies beside it must stay out of reach."""
    directory = tmp_path / "inside"
    directory.mkdir()
    (tmp_path / "secret").write_text("secret")
    return directory
