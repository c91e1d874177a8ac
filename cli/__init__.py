"""The command line: `taleward`."""

if __name__ != "taleward.cli":
    msg = "this folder is the package taleward.cli; import it by that name"
    raise ImportError(msg)

import os
import sys


def main() -> None:
    """Run the command line; an error ends in its message and the next step, not in a traceback.

    `TALEWARD_DEBUG=1` in the environment shows the traceback.
    """
    from taleward.cli.app import app

    try:
        app()
    except Exception as error:
        if os.environ.get("TALEWARD_DEBUG"):
            raise
        from taleward.cli.output.console import say_error
        from taleward.core.errors import BackendError, TalewardError

        say_error(error)
        sys.exit(2 if isinstance(error, TalewardError) and not isinstance(error, BackendError) else 1)
