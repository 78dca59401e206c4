"""The provider under the group's conformance suite."""

from typing import ClassVar

from theseus_kit.testing.conformance import MemoryMappingConformance


class TestRegion(MemoryMappingConformance):
    plugin = "region"


class TestRegionWithoutGaps(MemoryMappingConformance):
    plugin = "region"
    options: ClassVar = {"region": {"guard_gap": 0}}


class TestTheseus(MemoryMappingConformance):
    plugin = "region-theseus"
