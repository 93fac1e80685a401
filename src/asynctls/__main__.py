"""``python -m asynctls``: the same as the command ``asynctls``."""

from asynctls.cli import main

main()
