"""`python -m crossdock.cli`: what `./hub` hands over to."""

import os
import signal
from typing import Any


def _end(*_: Any) -> None:
    os._exit(130)


# Loading takes a second. A Ctrl-C in it would come up as a stack trace out of whichever module is being read.
signal.signal(signal.SIGINT, _end)

from crossdock.cli.app import main  # noqa: E402

signal.signal(signal.SIGINT, signal.default_int_handler)
main()
