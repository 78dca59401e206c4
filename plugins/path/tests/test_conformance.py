"""Both providers under the group's conformance suite."""

from theseus_kit.testing.conformance import PathHandlingConformance


class TestPath(PathHandlingConformance):
    plugin = "path"


class TestTheseusPath(PathHandlingConformance):
    plugin = "path-theseus"
