"""The specification's test suite: reading its scripts and running them."""

from theseus_kit.testing.wast.configuration import spec_config
from theseus_kit.testing.wast.results import Failure, FileResult, Skip
from theseus_kit.testing.wast.runner import SpecRunner

__all__ = ["Failure", "FileResult", "Skip", "SpecRunner", "spec_config"]
