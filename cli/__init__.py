"""The command line: `taleward`."""

if __name__ != "taleward.cli":
    msg = "this folder is the package taleward.cli; import it by that name"
    raise ImportError(msg)

import sys


def main() -> None:
    """Run the command line; an error of ours ends in its message and its hint, not in a traceback."""
    from taleward.cli.app import app
    from taleward.cli.show import say_error
    from taleward.core.errors import BackendError, TalewardError

    try:
        app()
    except TalewardError as error:
        say_error(error)
        sys.exit(1 if isinstance(error, BackendError) else 2)
