"""The command line: `taleward`."""

if __name__ != "taleward.cli":
    msg = "this folder is the package taleward.cli; import it by that name"
    raise ImportError(msg)

import os
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line.

    An error prints its message and the next step instead of a traceback; set `TALEWARD_DEBUG=1` to see the traceback.
    The exit code is 2 for wrong use or data, 1 for a model or server that failed and for unexpected errors, and 130
    after Ctrl-C.
    """
    from taleward.cli.app import app

    try:
        app()
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != _INTERRUPTED:
            raise
        # The threads of models may still compute; Python cannot end them in order, and the libraries abort the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_INTERRUPTED)
    except Exception as error:
        if os.environ.get("TALEWARD_DEBUG"):
            raise
        from taleward.cli.output.console import print_error
        from taleward.core.errors import BackendError, TalewardError

        print_error(error)
        sys.exit(2 if isinstance(error, TalewardError) and not isinstance(error, BackendError) else 1)
