"""The errors of the local stack and its APIs. Each message ends with what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from crossdock.core.errors import HubError


class StackError(HubError):
    """The local stack could not do what the command needs."""


class NotRunning(StackError):
    """A command needs the local stack, and nothing of it runs."""

    def __init__(self) -> None:
        super().__init__("The stack is stopped. Start it with: ./hub up")


class StillStarting(StackError):
    """A command needs the local stack, and a start of it is going on."""

    def __init__(self, start: str) -> None:
        super().__init__(
            f"The stack is {start}. Run this again when it has started; to see how far it is: ./hub status"
        )


class PartMissing(StackError):
    """A command needs a part of the local stack that does not run."""

    def __init__(self, wrong: Mapping[str, str]) -> None:
        #: Part → what is wrong with it, as in "ended".
        self.wrong = dict(wrong)
        which = " and ".join(f"{part}, which {what}" for part, what in wrong.items())
        super().__init__(f"This command needs {which}. Start what is missing with: ./hub up")


class LoginsChanged(StackError):
    """HUB_LOGINS names other people than those who may log in to the running stack."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"The logins of {', '.join(names)} change when Airflow is started anew: ./hub down, then ./hub up"
        )


class AnotherShop(StackError):
    """The sandbox is running with another shop: DAG runs may have read it, and some may be reading it now."""

    def __init__(self) -> None:
        super().__init__(
            "The sandbox is running with another shop. Stop it first: ./hub down. To change the shop of a running stack: "
            "./hub sandbox --dataset FILE"
        )


class StrangerAnswers(StackError):
    """Another program listens where a server of the local stack should."""

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(
            f"Another program answers at {url}: it cannot prove that it is the stack's own server, so no password was sent. "
            "Start the stack on another port: ./hub down, then ./hub up"
        )


class ProcessDied(StackError):
    """A process of the stack ended during the wait for it; the message has the end of its log."""

    def __init__(self, name: str, log: Path, last_lines: str) -> None:
        self.name, self.log, self.last_lines = name, log, last_lines
        super().__init__(f"{name} ended before it was ready. The end of {log}:\n{last_lines}\nTry: ./hub doctor")


class NotReady(StackError):
    """A part of the stack runs, but did not become ready in time."""

    def __init__(self, what: str, waited_s: float, missing: str, log: Path) -> None:
        self.what, self.waited_s, self.missing, self.log = what, waited_s, missing, log
        super().__init__(
            f"{what} was not ready after {waited_s:.0f} s ({missing}). Its log: {log}. Try: ./hub doctor, then ./hub up"
        )


class AnotherStart(StackError):
    """Another command is starting or stopping this stack now."""

    def __init__(self, lock: Path) -> None:
        super().__init__(
            f"Another ./hub up or ./hub down is running (it holds {lock}). Wait for it, then run: ./hub status"
        )


class AirflowRefused(StackError):
    """Airflow's REST API refused the request."""

    def __init__(self, request: str, status: int, message: str) -> None:
        self.request, self.status, self.message = request, status, message
        super().__init__(f"Airflow answered {request} with HTTP {status}: {message}")


class LoginExpired(StackError):
    """Airflow refuses the token of the login file or of HUB_TOKEN."""

    def __init__(self, url: str) -> None:
        super().__init__(f"The login at {url} has expired or is not valid. Log in again: ./hub login {url}")


class LoginRefused(StackError):
    """Airflow does not know the user with this password."""

    def __init__(self, url: str, user: str) -> None:
        super().__init__(
            f"Airflow at {url} does not accept the user {user!r} with this password. Correct one of them. The login of a local "
            "stack: ./hub status --password"
        )


class DagPaused(StackError):
    """The DAG is paused in Airflow: its runs would stay queued."""

    def __init__(self, dag_id: str, url: str) -> None:
        super().__init__(
            f"{dag_id} is paused in Airflow, so its runs would stay queued. Unpause it: {url}/dags/{dag_id}"
        )


class AirflowUnreachable(StackError):
    """Airflow's REST API does not answer. The command works once the stack is up."""

    def __init__(self, request: str, cause: str) -> None:
        self.request, self.cause = request, cause
        super().__init__(f"Airflow does not answer {request} ({cause}). Try: ./hub status, then ./hub up")
