"""./hub login, logout: which hub the commands speak to, and as whom."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from crossdock.cli import console
from crossdock.cli.options import Json
from crossdock.cli.session import login_file
from crossdock.client.hub import HubApi
from crossdock.client.login import Login
from crossdock.core.errors import BadRequest


def login(
    url: Annotated[str | None, typer.Argument(help="The address of the hub's Airflow; by default HUB_URL.")] = None,
    user: Annotated[
        str | None,
        typer.Option(
            help="A user of that Airflow; by default HUB_USER (if HUB_URL is unset or the same), or a prompt."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """
    Log in to a hub. Prompts for the password, or reads it from standard input.

    Stores Airflow's token, not the password, in a file that only you can read. It is valid until Airflow's time limit.

    Example: ./hub login https://airflow.example.com --user ada
    """
    from crossdock.stack.home import make_private_folder, write_json  # noqa: PLC0415

    named = Login.of_environment(os.environ, url=url)
    address = named.url if named else ""
    if not address.startswith(("http://", "https://")):
        raise BadRequest("Which hub? Use ./hub login https://airflow.example.com")
    name = user or (named.user if named else "") or _prompted("User")
    airflow = Login(address, name, password=_password(named)).airflow()
    token = airflow.new_token()
    roles = HubApi(Login(address, name, token).airflow()).get("/me").document["roles"]
    make_private_folder(login_file().parent)
    write_json(login_file(), {"url": address, "user": name, "token": token})
    if as_json:
        console.show_json({"url": address, "user": name, "roles": roles})
    else:
        console.success(f"Logged in to {address} as {name} ({', '.join(roles)}). To end: ./hub logout")


def logout(as_json: Json = False) -> None:
    """
    Forget the login; commands use the local stack again. Airflow's token stays valid until its own time limit.

    Example: ./hub logout
    """
    was_there = login_file().exists()
    login_file().unlink(missing_ok=True)
    if as_json:
        console.show_json({"removed": was_there})
    else:
        (console.success if was_there else console.say)("Logged out." if was_there else "There was no login.")


def _password(named: Login | None) -> str:
    if named and named.password:
        return named.password
    return _prompted("Password", hidden=True) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


def _prompted(what: str, *, hidden: bool = False) -> str:
    if not sys.stdin.isatty():
        raise BadRequest(f"Not a terminal, so cannot prompt. Use --{what.lower()}")
    return console.ask_for(what, hidden=hidden)
