"""Routes that are declared in YAML files, each mistake with its line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crossdock.core import yaml_document
from crossdock.core.errors import BadRequest
from crossdock.core.pydantic_words import plain
from crossdock.core.yaml_document import Mistake
from crossdock.maintenance.alerting.routes import Route

#: Of a checkout, whose package is not copied into the environment.
_OF_CHECKOUT = Path(__file__).parents[4] / "dags" / "alert_routes"


class InvalidRoutes(BadRequest):
    """A file of routes is not valid; `mistakes` lists every mistake with its line."""

    def __init__(self, path: Path, mistakes: Iterable[Mistake]) -> None:
        self.path, self.mistakes = path, tuple(mistakes)
        super().__init__("\n".join([f"{path} is not valid:", *(f"  {mistake}" for mistake in self.mistakes)]))


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    routes: Annotated[list[Route], Field(max_length=200)]


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What the files declare."""

    #: Route → the name of its file.
    routes: Mapping[Route, str]
    #: The name of a file with a mistake → what is wrong. Its routes stay as they were.
    invalid: Mapping[str, str]
    #: The place that a setting names is there. Otherwise all routes stay as they were.
    is_there: bool = True


def place(setting: str) -> Path:
    """Find the file or folder of the routes: *setting*, or `alert_routes` beside the DAG files."""
    if setting:
        return Path(setting)
    if _OF_CHECKOUT.is_dir():
        return _OF_CHECKOUT
    return Path(os.environ.get("AIRFLOW__CORE__DAGS_FOLDER", "dags")) / "alert_routes"


def paths(where: Path) -> list[Path]:
    """List the files."""
    return sorted(where.glob("*.yaml")) if where.is_dir() else [where] if where.exists() else []


def read(path: Path) -> list[Route]:
    """
    Read and validate the routes in *path*.

    Raises:
        InvalidRoutes: it is not valid; lists every mistake.

    """
    document, lines, mistakes = yaml_document.read_numbered(path)
    if not mistakes:
        try:
            routes = _File.model_validate(document).routes
        except ValidationError as error:
            mistakes = [yaml_document.mistake_at(lines, *_mistake(found)) for found in error.errors()]
        else:
            mistakes = [yaml_document.mistake_at(lines, *found) for found in _repeated(routes)]
    if mistakes:
        raise InvalidRoutes(path, sorted(mistakes, key=lambda mistake: mistake.line))
    return routes


def read_all(setting: str) -> Declared:
    """Read the routes of all files. A name that two files declare is a mistake of the second."""
    where = place(setting)
    if setting and not where.exists():
        message = f"HUB_ALERT_ROUTES names {where}, which is not there"
        return Declared(routes={}, invalid={str(where): message}, is_there=False)
    routes: dict[str, tuple[Route, str]] = {}
    invalid: dict[str, str] = {}
    for path in paths(where):
        try:
            for route in read(path):
                if route.name in routes:
                    invalid[path.name] = (
                        f"{path.name}: the route {route.name} is declared in {routes[route.name][1]}, too"
                    )
                else:
                    routes[route.name] = route, path.name
        except InvalidRoutes as error:
            invalid[path.name] = f"{path.name}: " + "; ".join(map(str, error.mistakes))
    return Declared(routes=dict(routes.values()), invalid=invalid)


def _mistake(found: Any) -> tuple[str, str]:
    pointer = "".join(f"/{step}" for step in found["loc"])
    match found["type"]:
        case "missing":
            return pointer, "is missing"
        case "extra_forbidden":
            return pointer, "is not known"
        case _:
            return pointer, plain(str(found["msg"]))


def _repeated(routes: list[Route]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for number, route in enumerate(routes):
        if route.name in seen:
            yield f"/routes/{number}/name", f"{route.name} is the name of another route of this file"
        seen.add(route.name)
