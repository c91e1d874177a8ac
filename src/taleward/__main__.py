"""`python -m taleward` is the command line."""

from taleward.cli import main

main()
