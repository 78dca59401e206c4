"""The suites and the contract say the same: nothing is cited that it does not say, nothing left."""

import inspect
import re

import pytest

from theseus_kit.assembly.check import hooks_of
from theseus_kit.capabilities import Capability
from theseus_kit.hookspecs import GROUPS
from theseus_kit.testing.conformance import suites
from theseus_kit.testing.conformance.suite import clauses_of, names_of_tests, needs_of

SUITES = suites()
CASES = [(suite, test) for suite in SUITES for test in names_of_tests(suite)]


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize(("suite", "test"), CASES, ids=[test for _, test in CASES])
def test_every_clause_that_is_cited_stands_in_the_contract_word_for_word(suite, test):
    clauses = clauses_of(getattr(suite, test))
    assert clauses
    for clause in clauses:
        assert words(clause.text) in words(inspect.getsource(clause.subject)), str(clause)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.group.value)
def test_every_hook_of_a_group_is_held_to_its_docstring(suite):
    cited = {}
    for test in names_of_tests(suite):
        for clause in clauses_of(getattr(suite, test)):
            cited.setdefault(clause.subject.__name__, []).append(words(clause.text))
    for name, hook in hooks_of(GROUPS[suite.group]).items():
        assert name in cited, f"no test cites {name}"
        raises = re.findall(r"\b(\w+Error)\b", inspect.getdoc(hook))
        texts = " ".join(text for found in cited.values() for text in found)
        for error in raises:
            assert error in texts, f"no test cites that {name} raises {error}"


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.group.value)
def test_tests_need_capabilities_of_their_own_group_only(suite):
    for test in names_of_tests(suite):
        for capability in needs_of(getattr(suite, test)):
            assert capability.group is suite.group


def test_every_capability_is_needed_by_some_test_and_says_its_group():
    needed = {capability for suite, test in CASES for capability in needs_of(getattr(suite, test))}
    assert needed == set(Capability)


def test_every_group_but_the_c_library_has_a_suite():
    assert {suite.group.value for suite in SUITES} == {
        group.value for group in GROUPS if group.value != "c-library"
    }


def test_tests_are_named_as_sentences():
    for _, test in CASES:
        assert test.count("_") >= 4, test
