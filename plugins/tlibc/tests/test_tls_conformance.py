"""Both providers under the conformance suite of thread-local storage."""

from theseus_kit.testing.conformance import ThreadLocalStorageConformance


class TestTlibc(ThreadLocalStorageConformance):
    plugin = "tlibc"


class TestTheseusTls(ThreadLocalStorageConformance):
    plugin = "tls-theseus"
