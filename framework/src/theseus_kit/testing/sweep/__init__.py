"""Failing each platform call of a run once, one run each, and saying what became of the runtime.

::

    a traced run ─► plan: which calls, how often, from where ─► one process for each fault
                                                                   │ outcome, backtrace
                                                                   ▼
                                                 classification ─► table, JSON, report

The failing itself is the plugin ``inject``'s business, the counting ``trace``'s: both are used by
their names and options, and must be installed.
"""

from theseus_kit.testing.sweep.classify import Verdict
from theseus_kit.testing.sweep.job import Target
from theseus_kit.testing.sweep.plan import Fault, Plan
from theseus_kit.testing.sweep.run import FaultResult, Sweep

__all__ = ["Fault", "FaultResult", "Plan", "Sweep", "Target", "Verdict"]
