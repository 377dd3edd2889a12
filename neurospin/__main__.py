"""`python -m neurospin` is `neurospin`."""

from neurospin.cli import main

main()
