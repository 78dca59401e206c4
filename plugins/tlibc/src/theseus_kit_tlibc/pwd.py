"""pwd.h: the platform's one user, who owns it."""

from __future__ import annotations

import errno
from struct import Struct

from theseus_kit.errors import PlatformError
from theseus_kit_tlibc.deferred import DeferredBodies

_PASSWD = Struct("<QQIIQQQ")
"""struct passwd: name, password, user and group number, comment, home directory, shell."""
_ROOT = 0


class Bodies(DeferredBodies):
    """The functions of pwd.h."""

    def getpwuid_r(self, uid: int, pwd: int, buf: int, buflen: int, result: int) -> int:
        """Only user 0 exists: ``root``, at home in the environment's HOME or else in ``/``.

        An unknown user is no error: ``*result`` is null then (getpwuid_r(3)). Raises ERANGE.
        """
        memory = self.library.memory
        memory.write_u64(result, 0)
        if uid != _ROOT:
            return 0
        home = self.library.environment.get(b"HOME", b"/")
        texts = [text + b"\0" for text in (b"root", b"x", b"", home, b"/bin/sh")]
        if sum(map(len, texts)) > buflen:
            raise PlatformError("getpwuid_r: the buffer is too small", errno.ERANGE)
        addresses = []
        for text in texts:
            memory.write(buf, text)
            addresses.append(buf)
            buf += len(text)
        name, password, comment, directory, shell = addresses
        memory.write(pwd, _PASSWD.pack(name, password, _ROOT, _ROOT, comment, directory, shell))
        memory.write_u64(result, pwd)
        return 0
