"""The retailer as a process."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill the process, however the test ends."""
    try:
        yield
    finally:
        process.kill()


def test_process_says_when_it_is_ready_and_ends_on_sigterm() -> None:
    """A starter waits for one line with the port; the secret comes from the environment."""
    sizes = ["--inventory", "20", "--products", "2", "--orders", "2", "--customers", "2"]
    command = [sys.executable, "-m", "crossdock.sandbox", "--port", "0", "--project", "shop", *sizes]
    environment = os.environ | {"SANDBOX_CLIENT_SECRET": "hush"}
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process,
        killed_at_the_end(process),
    ):
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready == {"ready": True, "port": ready["port"], "url": f"http://127.0.0.1:{ready['port']}"}
        connection = http.client.HTTPConnection("127.0.0.1", ready["port"], timeout=60)
        connection.request("GET", "/_sandbox")
        about = json.load(connection.getresponse())
        assert (about["project"], about["rows"]["inventory"]) == ("shop", 20)
        # A connection that is kept alive does not keep the process alive.
        with socket.create_connection(("127.0.0.1", ready["port"])):
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=120) == 0
