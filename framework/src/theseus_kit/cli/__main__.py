"""``python -m theseus_kit.cli``: the command line without its script."""

from theseus_kit.cli import main

main()
