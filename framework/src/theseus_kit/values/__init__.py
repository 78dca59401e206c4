"""Value types: everything that crosses a hook. Plain data, no behaviour of a platform.

Import them from their rooms: :mod:`~theseus_kit.values.memory`,
:mod:`~theseus_kit.values.exceptions`, :mod:`~theseus_kit.values.symbols`,
:mod:`~theseus_kit.values.tls`, :mod:`~theseus_kit.values.paths`,
:mod:`~theseus_kit.values.linkage`.
"""
