"""The providers under the conformance suites of their groups."""

from theseus_kit.testing.conformance import SymbolicationConformance, UnwindingConformance


class TestBacktraceSymbols(SymbolicationConformance):
    plugin = "backtrace"


class TestBacktraceUnwinding(UnwindingConformance):
    plugin = "backtrace"


class TestFramePointerSymbols(SymbolicationConformance):
    plugin = "backtrace-frame-pointers"


class TestFramePointerUnwinding(UnwindingConformance):
    plugin = "backtrace-frame-pointers"


class TestSymbolTables(SymbolicationConformance):
    plugin = "backtrace-symbols"


class TestUnwindingAlone(UnwindingConformance):
    plugin = "backtrace-unwinding"
