"""`python -m crossdock.sandbox`: a simulated system as a process of its own, until SIGTERM."""

import argparse
import gc
import json
import signal
import sys
import time

from crossdock.sandbox.engine.problems import CannotServeError
from crossdock.sandbox.engine.system import SimulatedSystem
from crossdock.sandbox.systems import DEFAULT, SYSTEMS, system_named

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def open_system(arguments: list[str] | None = None) -> SimulatedSystem:
    """Build the system that the command line asks for; exits with one line if that is not possible."""
    began = time.monotonic()

    def report(sentence: str) -> None:
        sys.stderr.write(f"sandbox: {sentence} ({time.monotonic() - began:.1f} s)\n")

    parser = argparse.ArgumentParser(prog="python -m crossdock.sandbox", description=__doc__)
    parser.add_argument("--system", choices=list(SYSTEMS), default=DEFAULT, help=f"default {DEFAULT}")
    parser.add_argument("--port", type=int, default=8090, help="0 for any free port")
    parser.add_argument("--host", default="127.0.0.1", help="use another address only in a container")
    try:
        return system_named(_chosen(arguments)).from_command(parser, arguments, report)
    except (CannotServeError, FileNotFoundError, IsADirectoryError) as error:
        sys.exit(f"sandbox: {error}")


def _chosen(arguments: list[str] | None) -> str:
    """Read `--system` alone: the other options are the chosen system's to define."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--system", default=DEFAULT)
    name = str(parser.parse_known_args(arguments)[0].system)
    return name if name in SYSTEMS else DEFAULT


def main() -> None:
    # The signals are blocked in all threads and awaited in this one. A handler would not do: the kernel may hand the
    # signal to another thread, and Python's handler then waits for this one to wake up, which it never does.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    with open_system() as system:
        # The records stay for the life of the process; without this every full collection walks all of them.
        gc.freeze()
        sys.stdout.write(json.dumps({"ready": True, "port": system.port, "url": system.url}) + "\n")
        sys.stdout.flush()
        signal.sigwait(_STOP_SIGNALS)


if __name__ == "__main__":
    main()
