"""
The stack on other machines: chroots of Debian 12, 13 and sid, made for the test.

There the user is another one, with a HOME of its own and `umask 077`, the path has a space and a letter that is not ASCII, there is no
compiler, no IPv6 and no network but loopback, the proxy of the environment leads nowhere, and there are 2.5 GB of memory.
"""

# ruff: noqa: S607  the tools are where each Linux has them
from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from crossdock.stack.home import project

pytestmark = pytest.mark.deep

_TOOLS = ("debootstrap", "unshare", "chroot", "git", "ip", "sysctl")
_FOLDER = "home/eve/Mein Händler"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PROXIES = [
    f"{name}=http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
]
_MEMORY_BYTES = 5 * 1024**3 // 2

#: Mounts that end with the process, as all that it starts does. $0 is the chroot; the words are run in it, by eve.
_ENTER = """
mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount -t tmpfs shm "$0/dev/shm" && mount --rbind /sys "$0/sys"
exec chroot "$0" env -i HOME=/home/eve USER=eve LOGNAME=eve PATH=/usr/local/bin:/usr/bin:/bin TERM=dumb "$@"
"""
_WITHOUT_NETWORK = """
ip link set lo up && sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1
"""
_DAY = """
./hub up || exit 11
./hub sync commercetools.inventory --full
test $? -eq 3 || exit 12  # the sandbox's stock has records that a rule rejects
./hub doctor || exit 13
./hub down || exit 14
"""


@dataclass(frozen=True)
class Machine:
    """A chroot with the project in it, which belongs to eve."""

    root: Path
    memory: Path

    def run(self, script: str, *environment: str, is_online: bool) -> subprocess.CompletedProcess[str]:
        """Run *script* in the project's folder as eve, with all that it starts ended afterwards."""
        spaces = ["--mount", "--pid", "--fork", "--kill-child", *([] if is_online else ["--net"])]
        limited = f"echo 0 > '{self.memory}/cgroup.procs'\n"
        enter = limited + ("" if is_online else _WITHOUT_NETWORK) + _ENTER
        words = ["su", "eve", "-m", "-s", "/bin/bash", "-c", f"umask 077; cd '/{_FOLDER}' && {script}"]
        return subprocess.run(
            ["nice", "-n", "5", "unshare", *spaces, "bash", "-c", enter, str(self.root), *environment, *words],
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def killed(self) -> int:
        """Count the processes that were killed because there was no more memory."""
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                lines = (self.memory / name).read_text().splitlines()
                return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
        raise AssertionError(f"{self.memory} does not say how many processes were killed")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may pass through: pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="hub-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["bookworm", "trixie", "sid"])
def machine(request: pytest.FixtureRequest, open_folder: Path) -> Iterator[Machine]:
    if os.geteuid() != 0 or (missing := [tool for tool in _TOOLS if shutil.which(tool) is None]):
        pytest.skip("needs root" if os.geteuid() != 0 else f"needs {', '.join(missing)}")
    memory = _control_group(request.param)
    root = open_folder / request.param
    packages = "--include=python3,python3-venv,ca-certificates"
    made = subprocess.run(
        ["nice", "-n", "5", "debootstrap", "--variant=minbase", packages, request.param, str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(f"no {request.param}: {made.stdout[-300:]}")
    _fill(root)
    yield Machine(root, memory)
    memory.rmdir()


def _control_group(name: str) -> Path:
    """Make a control group with that much memory, by version 1 or 2."""
    groups = Path("/sys/fs/cgroup")
    is_first = (groups / "memory").is_dir()
    made = (groups / "memory" if is_first else groups) / f"crossdock-{name}-{os.getpid()}"
    limit = made / ("memory.limit_in_bytes" if is_first else "memory.max")
    try:
        made.mkdir()
        limit.write_text(str(_MEMORY_BYTES))
    except OSError as error:
        pytest.skip(f"needs control groups of memory: {error}")
    return made


def _fill(root: Path) -> None:
    folder = root / _FOLDER
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "-C", str(project()), "archive", "HEAD"], capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    for file in (Path("/etc/resolv.conf"), _CERTIFICATES):
        shutil.copyfile(file, root / file.relative_to("/"))
    subprocess.run(["chroot", str(root), "useradd", "--shell", "/bin/bash", "eve"], check=True, capture_output=True)
    subprocess.run(["chroot", str(root), "chown", "-R", "eve", "/home/eve"], check=True)


@pytest.mark.timeout(1800)
def test_the_stack_works_on_another_machine(machine: Machine) -> None:
    compiler = machine.run("command -v cc gcc", is_online=False)
    known = [f"{name}={_CERTIFICATES}" for name in ("SSL_CERT_FILE", "PIP_CERT")]
    installed = machine.run("./hub --version", *known, is_online=True)
    day = machine.run(_DAY, *_PROXIES, is_online=False)

    assert compiler.stdout == ""
    assert installed.returncode == 0, installed.stderr
    assert day.returncode == 0, day.stdout + day.stderr
    assert machine.killed() == 0
