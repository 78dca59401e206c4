"""libintl.h: messages in the user's language, of which there is none but the program's own."""

from __future__ import annotations

from theseus_kit_tlibc.deferred import Deferred, DeferredBodies

_DEFAULT_DOMAIN = b"messages"
_DIRECTORY = b"/usr/share/locale"


class Bodies(DeferredBodies):
    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred)
        self._domain = _DEFAULT_DOMAIN
        self._directories: dict[bytes, bytes] = {}
        self._codesets: dict[bytes, bytes] = {}

    def gettext(self, msgid: int) -> int:
        return msgid

    def dgettext(self, domain: int, msgid: int) -> int:
        return msgid

    def dcgettext(self, domain: int, msgid: int, category: int) -> int:
        return msgid

    def ngettext(self, msgid: int, plural: int, n: int) -> int:
        return msgid if n == 1 else plural

    def dngettext(self, domain: int, msgid: int, plural: int, n: int) -> int:
        return msgid if n == 1 else plural

    def textdomain(self, domain: int) -> int:
        if domain:
            self._domain = self.library.memory.read_string(domain) or _DEFAULT_DOMAIN
        return self.library.constant(self._domain + b"\0")

    def bindtextdomain(self, domain: int, directory: int) -> int:
        return self._bound(self._directories, domain, directory, _DIRECTORY)

    def bind_textdomain_codeset(self, domain: int, codeset: int) -> int:
        return self._bound(self._codesets, domain, codeset, b"")

    def _bound(self, table: dict[bytes, bytes], domain: int, value: int, default: bytes) -> int:
        """What a domain is bound to; a null pointer where that is nothing."""
        memory = self.library.memory
        name = memory.read_string(domain) if domain else b""
        if not name:
            return 0
        if value:
            table[name] = memory.read_string(value)
        text = table.get(name, default)
        return self.library.constant(text + b"\0") if text else 0
