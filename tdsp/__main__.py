"""`python -m tdsp` is the command `tdsp`."""

from tdsp.cli.app import main

main()
