"""The kinds of authentication, each against a server that records its requests."""

from __future__ import annotations

import base64
import ssl
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from crossdock.core.errors import BadRequest, SystemRefused, SystemUnavailable
from crossdock.http.auth import ApiKey, ApiKeyInQuery, Basic, SecretUrl
from crossdock.http.client import HttpClient, Limits
from crossdock.http.config import ClientConfig
from crossdock.http.jwt_bearer import JwtBearer, JwtSigner
from crossdock.http.oauth import ClientCredentials
from crossdock.http.transport import Tls as TlsConfig
from tests.http.raw_server import ONE_SECOND, RawServer, answer, body_of, token_of
from tests.tls import Tls

CANARY = "canary-77c0ffee"
SECRET = CANARY + "-a-secret-of-forty-characters-at-least"


def pem_of(key: Any) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


RSA, EC = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
KEYS: dict[str, tuple[str, Any]] = {
    "HS256": (SECRET, SECRET),
    "RS256": (pem_of(RSA), RSA.public_key()),
    "ES256": (pem_of(EC), EC.public_key()),
}


def header_of(request: str, name: str) -> str:
    return next(line.partition(": ")[2] for line in request.splitlines() if line.lower().startswith(name.lower() + ":"))


def test_an_api_key_goes_into_its_header() -> None:
    with RawServer(answer()) as server:
        body_of(server.client(auth=ApiKey("k-1")))
        body_of(server.client(auth=ApiKey("k-2", header="Authorization", prefix="Token")))

    assert header_of(server.requests[0], "X-Api-Key") == "k-1"
    assert header_of(server.requests[1], "Authorization") == "Token k-2"


def test_an_api_key_that_a_system_wants_in_the_address_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Addresses are what every log, error and library likes to repeat."""
    caplog.set_level("DEBUG")
    refusal = answer(f'{{"message": "no such key {CANARY}/+ here"}}', "403 Forbidden")

    with RawServer(refusal) as server, pytest.raises(SystemRefused, match=r"no such key .hidden. here") as refused:
        body_of(server.client(auth=ApiKeyInQuery(f"{CANARY}/+", name="api key")), page=2)
    with pytest.raises(SystemUnavailable) as down:
        body_of(HttpClient("acme", server.url, auth=ApiKeyInQuery(CANARY, name="key"), limits=ONE_SECOND))

    assert server.requests[0].startswith(f"GET /thing?page=2&api%20key={CANARY}%2F%2B ")
    shown = "".join(traceback.format_exception(refused.value) + traceback.format_exception(down.value)) + caplog.text
    assert CANARY not in shown


@pytest.mark.parametrize("key", ["", " ", "a\r\nX-Evil: 1", f"{CANARY}\n", f"{CANARY}é", f" {CANARY}"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    """The library below would show all of it in its error."""
    for kind in (ApiKey, lambda text: ApiKeyInQuery(text, name="key")):
        with pytest.raises(BadRequest, match="other than visible ASCII") as caught:
            kind(key)
        assert CANARY not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(BadRequest, match="is not a valid header name"):
        ApiKey("key", header="X-Key\r\nX-Evil")


@pytest.mark.parametrize(
    "path", [f"/services/T0/{CANARY}", f"/workflows/invoke?api-version=1&sp=%2Frun&sig={CANARY}", f"/{CANARY}/"]
)
def test_a_url_that_is_the_secret_is_called_as_it_is_and_shown_nowhere(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even the part that the system repeats: whoever has the URL of a webhook can post to it."""
    caplog.set_level("DEBUG")
    refusal = answer(f'{{"message": "no such hook {CANARY} here"}}', "404 Not Found")

    def post(url: str) -> Any:
        auth = SecretUrl(url)
        client = HttpClient("acme", auth.origin, auth=auth, limits=ONE_SECOND)
        return client.send("POST", SecretUrl.PATH, {"a": 1}, lambda got: got.body)

    with RawServer(refusal) as server, pytest.raises(SystemRefused, match=r"no such hook .hidden. here") as refused:
        post(server.url + path)
    with pytest.raises(SystemUnavailable) as down:
        post(server.url + path)

    assert server.requests[0].startswith(f"POST {path} HTTP/1.1")
    shown = "".join(traceback.format_exception(refused.value) + traceback.format_exception(down.value)) + caplog.text
    assert CANARY not in shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        CANARY,
        "https://hooks.example",
        "https://hooks.example/",
        f"https://ana:{CANARY}@hooks.example/x",
        f"https://hooks.example/{CANARY}\r\nX-Evil: 1",
        f"https://hooks.example/{CANARY} x",
        f"https://[{CANARY}/x",
        f"ftp://hooks.example/{CANARY}",
    ],
)
def test_a_secret_url_that_cannot_be_called_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(BadRequest) as caught:
        HttpClient("acme", SecretUrl(url).origin)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_password_may_be_any_text() -> None:
    with RawServer(answer()) as server:
        body_of(server.client(auth=Basic("ana", "pässwörd€")))

    assert (
        base64.b64decode(header_of(server.requests[0], "Authorization").removeprefix("Basic "))
        == "ana:pässwörd€".encode()
    )


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_jwt_says_who_we_are_and_is_signed(algorithm: str) -> None:
    key, public = KEYS[algorithm]
    signer = JwtSigner(key, algorithm, issuer="hub", key_id="k-1")
    with RawServer(answer()) as server:
        client = server.client(auth=JwtBearer(signer, audience="acme"))
        body_of(client)
        body_of(client)

    sent = [header_of(request, "Authorization").removeprefix("Bearer ") for request in server.requests]
    claims = jwt.decode(sent[0], public, algorithms=[algorithm], audience="acme", issuer="hub")
    assert (claims["sub"], claims["exp"] - claims["iat"]) == ("hub", 300)
    assert jwt.get_unverified_header(sent[0])["kid"] == "k-1"
    assert sent[0] == sent[1], "signing anew for each call costs a millisecond"


@pytest.mark.parametrize(("life_s", "behind_s"), [(300, 59), (300, 2), (60, 11), (10, 1)])
def test_a_server_whose_clock_is_behind_takes_a_new_jwt(life_s: float, behind_s: float) -> None:
    """Each new signature was refused, finally; one of a server whose clock is ahead still has most of its life."""
    claims = jwt.decode(
        JwtSigner(SECRET, "HS256", issuer="hub", life_s=life_s).token(audience="a"), SECRET, ["HS256"], audience="a"
    )

    assert claims["iat"] <= time.time() - behind_s
    assert claims["exp"] > time.time() + life_s * 0.6
    assert claims["exp"] - claims["iat"] == life_s, "no server sees a longer life than was declared"


def test_a_jwt_is_signed_anew_before_it_runs_out() -> None:
    bearer = JwtBearer(JwtSigner(SECRET, "HS256", issuer="hub", life_s=0.0), audience="acme")
    request = requests.Request("GET", "http://h").prepare()

    assert bearer(request).headers["Authorization"] != bearer(request.copy()).headers["Authorization"]


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (SECRET, "none"),
        (SECRET, "HS512"),
        (CANARY, "HS256"),
        (CANARY, "RS256"),
        (pem_of(EC), "RS256"),
        (pem_of(RSA), "ES256"),
    ],
)
def test_a_key_that_does_not_fit_is_refused_at_once_and_not_shown(key: str, algorithm: str) -> None:
    """`none` would let anybody sign; a short secret can be guessed."""
    with pytest.raises(BadRequest) as caught:
        JwtSigner(key, algorithm, issuer="hub")

    assert key not in "".join(traceback.format_exception(caught.value))


def test_a_client_may_prove_itself_by_an_assertion_in_place_of_a_secret() -> None:
    """RFC 7523 2.2: the key never leaves us."""
    with RawServer(answer(b"[1]"), token=token_of("t-1")) as server:
        tokens = HttpClient("acme", server.url, limits=msgspec.structs.replace(ONE_SECOND, attempts=1))
        signer = JwtSigner(pem_of(EC), "ES256", issuer="hub")
        auth = ClientCredentials(tokens, "/token", client_id="hub", scope="read", assertion=signer)
        assert body_of(server.client(auth=auth)) == b"[1]"

    form = dict(pair.split("=") for pair in server.tokens[0].rpartition("\r\n")[2].split("&"))
    claims = jwt.decode(form["client_assertion"], EC.public_key(), algorithms=["ES256"], audience=f"{server.url}/token")
    assert claims["iss"] == claims["sub"] == form["client_id"] == "hub"
    assert form["client_assertion_type"].endswith("jwt-bearer")
    assert "Authorization" not in server.tokens[0]
    assert header_of(server.requests[0], "Authorization") == "Bearer t-1"


class TestMutualTls:
    @pytest.fixture
    def asking(self, tls: Tls) -> Tls:
        """A server that requires a client certificate that it trusts."""
        tls.context.verify_mode = ssl.CERT_REQUIRED
        tls.context.load_verify_locations(tls.ca_file)
        return tls

    def test_with_our_certificate_the_server_answers(self, asking: Tls) -> None:
        trust = TlsConfig(ca_file=asking.ca_file, cert_file=asking.ca_file)
        with RawServer(answer(b"[1]"), tls=asking.context) as server:
            assert body_of(server.client(config=ClientConfig(tls=trust))) == b"[1]"

    def test_without_a_certificate_the_server_refuses(self, asking: Tls) -> None:
        with RawServer(answer(), tls=asking.context) as server, pytest.raises(SystemUnavailable):
            body_of(server.client(limits=ONE_SECOND, ca_file=asking.ca_file))

        assert server.requests == []

    def test_a_key_with_a_password_is_opened_with_it(self, asking: Tls, tmp_path: Path) -> None:
        key = serialization.load_pem_private_key(Path(asking.ca_file).read_bytes(), None)
        locked = tmp_path / "key.pem"
        locked.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"hush"),
            )
        )
        trust = TlsConfig(ca_file=asking.ca_file, cert_file=asking.ca_file, key_file=str(locked), key_password="hush")
        with RawServer(answer(b"[1]"), tls=asking.context) as server:
            assert body_of(server.client(config=ClientConfig(tls=trust))) == b"[1]"
            with pytest.raises(BadRequest, match="do not match"):
                server.client(config=ClientConfig(tls=replace(trust, key_password=None)))

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    def test_less_than_tls_1_2_is_refused(self, tls: Tls) -> None:
        """1.0 and 1.1 have been broken for years."""
        tls.context.set_ciphers("ALL:@SECLEVEL=0")
        tls.context.minimum_version = ssl.TLSVersion.TLSv1
        tls.context.maximum_version = ssl.TLSVersion.TLSv1_1

        with RawServer(answer(), tls=tls.context) as server, pytest.raises(SystemUnavailable):
            body_of(server.client(limits=ONE_SECOND, ca_file=tls.ca_file))
        assert TlsConfig(ca_file=tls.ca_file).context("acme").minimum_version is ssl.TLSVersion.TLSv1_2

    @pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file"])
    def test_a_file_that_is_not_there_is_named(self, name: str) -> None:
        with pytest.raises(BadRequest, match=rf"'/nowhere\.pem' .*\({name}\)"):
            HttpClient(
                "acme",
                "https://api.example.com",
                config=ClientConfig(tls=TlsConfig(**{name: "/nowhere.pem"})),
                limits=Limits(),
            )
