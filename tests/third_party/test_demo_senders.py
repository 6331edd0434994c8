"""The libraries of `./hub demo webhooks` as the demo installs and runs them, on our own route."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest

from crossdock.cli.demo.checks import DemoFailed
from crossdock.cli.demo.sender_libraries import Delivery, SenderLibraries, Sent
from crossdock.db.database import Store
from tests.events.webhooks_in.test_webhooks import WebhookClient, client
from tests.shop import query
from tests.third_party.installs import CACHE, HERE

__all__ = ["client"]

FORM = "application/x-www-form-urlencoded"
BODY = json.dumps({"id": "evt_1", "event_id": "ev_1", "data": {"sku": "CHAIR"}})
#: Library → its secret, another one, the scheme of its sender, the path of the key, the body, and its type.
SENDERS = {
    "standardwebhooks": ("whsec_Zmlyc3Q=", "whsec_b3RoZXI=", "standard", "data.sku", BODY, "application/json"),
    "stripe": ("whsec_first", "whsec_other", "stripe", "data.sku", BODY, "application/json"),
    "slack_sdk": ("first", "other", "slack", "text", urlencode({"text": "CHAIR", "trigger_id": "1"}), FORM),
}


@pytest.fixture(scope="module")
def libraries() -> SenderLibraries:
    found = SenderLibraries(CACHE)
    try:
        found.install()
    except DemoFailed as error:
        pytest.skip(str(error))
    return found


@pytest.mark.deep
@pytest.mark.xdist_group("third_party")
@pytest.mark.parametrize("library", SENDERS)
def test_a_library_delivers_one_effect_from_fifty_copies_and_none_with_a_wrong_secret(
    libraries: SenderLibraries, client: WebhookClient, store: Store, library: str
) -> None:
    secret, other, scheme, path, body, content_type = SENDERS[library]
    client.extra = {"scheme": scheme, "dataset": "inventory", "key_path": path}
    client.password = secret
    url = f"http://127.0.0.1:{client.port}/v1/webhooks/commercetools"

    def sent(secret: str, copies: int) -> Sent:
        return libraries.deliver(Delivery(library, secret, "msg_1", url, body, content_type, copies))

    forged = sent(other, 1).answer
    assert (forged.status, "no signature matches" in forged.document["detail"]) == (401, True)
    assert query(store, "SELECT count(*) FROM event") == [(0,)]
    assert {answer.status for answer in sent(secret, 50).answers} == {200 if scheme == "slack" else 202}
    assert query(store, "SELECT partition_key FROM event") == [("commercetools.inventory/CHAIR",)]


def test_the_demo_pins_the_versions_that_the_tests_have() -> None:
    """Else the demo would show what no test has seen."""
    pinned = {
        name.lower().replace("_", "-"): version
        for folder in ("senders_python", "standard_webhooks", "stripe")
        for name, version in re.findall(
            r"^(\S+)==(\S+)", (HERE / folder / "requirements.txt").read_text(), re.MULTILINE
        )
    }
    names = [name.partition("==") for name in SenderLibraries(CACHE).names]

    assert len(names) == 3
    assert {name: version for name, _, version in names} == {name: pinned[name] for name, _, _ in names}


def test_without_a_package_index_the_chapter_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the installer has left there is not taken for installed by the next run."""
    nowhere = "http://127.0.0.1:9/simple"
    settings = {
        **dict.fromkeys(("UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"), nowhere),
        **dict.fromkeys(("UV_NO_CACHE", "UV_NO_CONFIG", "PIP_NO_CACHE_DIR"), "1"),
        **dict.fromkeys(("UV_HTTP_RETRIES", "PIP_RETRIES"), "0"),
        "PIP_CONFIG_FILE": os.devnull,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    for _ in range(2):
        with pytest.raises(DemoFailed, match=r"needs a package index once. Check the network"):
            SenderLibraries(tmp_path).install()
