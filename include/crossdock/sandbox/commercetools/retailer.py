"""The retailer without its socket: what it knows, what is to go wrong, what was asked."""

from dataclasses import asdict
from pathlib import Path

from crossdock.sandbox.commercetools.dataset import Dataset
from crossdock.sandbox.commercetools.simulation import Life
from crossdock.sandbox.commercetools.state import Size, World
from crossdock.sandbox.commercetools.tokens import Tokens
from crossdock.sandbox.engine.faults import Faults
from crossdock.sandbox.engine.journal import Journal
from crossdock.sandbox.engine.log import RequestLog
from crossdock.sandbox.engine.messages import Response


class Shop:
    """What the vendor's routes and the control routes both work on."""

    def __init__(
        self, project: str, client_id: str, client_secret: str, size: Size, dataset: Dataset | None = None
    ) -> None:
        self.project = project
        self.client_id = client_id
        self.client_secret = client_secret
        self.dataset = dataset
        self.world = World(size, dataset)
        self.faults = Faults()
        self.requests = RequestLog()
        self.tokens = Tokens(project, client_id, client_secret)
        self.life = Life(lambda: self.world)
        self._journal: Journal | None = None
        #: The last page that each path gave, for the fault that gives it again.
        self.last_pages: dict[str, Response] = {}

    def keep_changes(self, path: Path) -> None:
        """Goes on with the changes in *path*, and keeps those to come there."""
        source = self.dataset.name if self.dataset else None
        self._journal = Journal(path, {"shop": asdict(self.world.size), "dataset": source})
        self._journal.attach(self.world)

    def reset(self, size: Size) -> None:
        """A new world, as if just started; tokens stay alive. With a dataset: of its rows, as they were read."""
        self.life.stop()
        self.world = World(size, self.dataset)
        if self._journal is not None:
            self._journal.begin_anew(self.world)
        self.faults.clear()
        self.requests.clear()
        self.last_pages.clear()
