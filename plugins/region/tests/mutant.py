"""What the wrong providers of memory mapping have alike."""

from theseus_kit.hookspecs import hookimpl
from theseus_kit_region import RegionPlugin


class Mutant(RegionPlugin):
    """What they have alike: the platform's own mappings are labelled, and are left alone, so
    that a platform there is."""

    def altered(self, request):
        return request

    @hookimpl
    def memory_map(self, request):
        return super().memory_map(request if request.label else self.altered(request))
