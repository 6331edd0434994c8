"""`python -m crossdock.sandbox`: the retailer as a process of its own, until SIGTERM."""

import argparse
import gc
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crossdock.sandbox.commercetools.data.invoice_lines import DatasetRefusedError
from crossdock.sandbox.commercetools.state import Size
from crossdock.sandbox.engine.server import Sandbox

_ENDINGS = (signal.SIGTERM, signal.SIGINT)


def _arguments() -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m crossdock.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=8090, help="0 for any free port")
    parser.add_argument("--host", default="127.0.0.1", help="another address is for a container of its own")
    parser.add_argument("--project", default="demo")
    parser.add_argument("--client-id", default="sandbox", help="its secret comes from SANDBOX_CLIENT_SECRET")
    parser.add_argument("--dataset", type=Path, help="a parquet file of invoice lines, in place of a generated shop")
    parser.add_argument(
        "--journal", type=Path, help="a file that keeps what changes, so that a restart goes on from there"
    )
    for name, default in asdict(Size()).items():
        # Absent where it is not given: a dataset takes no sizes, and a default is not a wish.
        parser.add_argument(f"--{name}", type=type(default), default=argparse.SUPPRESS, help=f"default {default}")
    given = vars(parser.parse_args())
    sizes = sorted(given.keys() & asdict(Size()).keys() - {"seed"})
    if given["dataset"] is not None and sizes:
        parser.error(f"--{sizes[0]} is for a generated shop; one from --dataset has its size from there")
    return given


def _open(arguments: dict[str, Any]) -> Sandbox:
    began = time.monotonic()

    def say(sentence: str) -> None:
        sys.stderr.write(f"sandbox: {sentence} ({time.monotonic() - began:.1f} s)\n")

    try:
        secret = os.environ.get("SANDBOX_CLIENT_SECRET", "sandbox")
        return Sandbox(client_secret=secret, say=say, **arguments)
    except (DatasetRefusedError, FileNotFoundError, IsADirectoryError) as error:
        sys.exit(f"sandbox: {error}")


def main() -> None:
    # Blocked in all threads and waited for in this one. A handler would not do: the kernel may hand the signal to
    # another thread, and Python's handler then waits for this one to wake up, which it never does.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    with _open(_arguments()) as shop:
        # The shop's rows stay; without this every full collection walks all of them.
        gc.freeze()
        sys.stdout.write(json.dumps({"ready": True, "port": shop.port, "url": shop.url}) + "\n")
        sys.stdout.flush()
        signal.sigwait(_ENDINGS)


if __name__ == "__main__":
    main()
