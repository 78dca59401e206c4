"""Choosing, checking and ordering plugins, and building a platform of them."""

from theseus_kit.assembly.assemble import BUNDLED, assemble
from theseus_kit.assembly.catalogue import Catalogue, Installed
from theseus_kit.assembly.report import AssemblyReport, Provider

__all__ = ["BUNDLED", "AssemblyReport", "Catalogue", "Installed", "Provider", "assemble"]
