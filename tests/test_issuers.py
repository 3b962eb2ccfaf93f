"""Access tokens of an issuer: a real one, with its metadata and keys on HTTP, and a real server that asks it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
import urllib.request
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from support import Repo
from test_access import post, run, serving

from workspaces import Project

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PUBLIC = "https://workspaces.example"
HOST = {"Host": "workspaces.example"}


@dataclass
class Issuer:
    """What it publishes, and what signs."""

    url: str = ""
    keys: dict[str, Key] = field(default_factory=dict[str, Key])
    hangs: Event = field(default_factory=Event)
    """While it is set, who asks gets no answer."""
    goes_on: Event = field(default_factory=Event)

    def answer(self, path: str) -> Mapping[str, object] | None:
        if path == "/.well-known/oauth-authorization-server":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "token_endpoint": f"{self.url}/token"}
        return {"keys": [_published(name, key) for name, key in self.keys.items()]} if path == "/keys" else None

    def token(self, key: Key | str, kid: str = "rsa", algorithm: str = "RS256", **claims: object) -> str:
        said = {
            "iss": self.url,
            "aud": f"{PUBLIC}/mcp",
            "sub": "anna",
            "exp": int(time.time()) + 300,
            "scope": "workspaces:work",
            **claims,
        }
        kept = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(kept, key, algorithm=algorithm, headers={"kid": kid})


def _published(name: str, key: Key) -> dict[str, object]:
    public = key.public_key()
    shown = RSAAlgorithm.to_jwk(public) if isinstance(public, rsa.RSAPublicKey) else ECAlgorithm.to_jwk(public)
    return {**json.loads(shown), "kid": name, "use": "sig"}


@dataclass(frozen=True)
class World:
    url: str
    issuer: Issuer

    def call(self, token: str, tool: str = "status", **arguments: object) -> tuple[int, str]:
        return post(self.url, tool, arguments, token, HOST)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    home = tmp_path_factory.mktemp("issuers")
    (home / ".gitconfig").write_text("[user]\n\tname = Ann\n\temail = ann@example.com\n")
    issuer = Issuer(keys={"rsa": rsa.generate_private_key(65537, 2048), "ec": ec.generate_private_key(ec.SECP256R1())})

    with publishing(issuer), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        repo = Repo.create(home / "shop")
        repo.write("cart.py", "line\n")
        repo.commit("start")
        Project.initialize(repo.path)
        with serving(home, repo.path, "--issuer", issuer.url, "--public-url", PUBLIC) as url:
            yield World(url, issuer)


@contextmanager
def publishing(issuer: Issuer) -> Generator[None]:
    """Have an issuer answer until the block ends, where it did before if it did."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if issuer.hangs.is_set():
                issuer.goes_on.wait(60)
                return
            page = issuer.answer(self.path)
            self.send_response(404 if page is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(page).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    port = int(issuer.url.rpartition(":")[2]) if issuer.url else 0
    with ThreadingHTTPServer(("127.0.0.1", port), Pages) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        issuer.url = f"http://127.0.0.1:{pages.server_address[1]}"
        try:
            yield
        finally:
            issuer.goes_on.set()
            pages.shutdown()


@contextmanager
def asking(tmp_path: Path, repo: Repo, issuer: Issuer) -> Generator[World]:
    """Run a server of its own for an issuer."""
    with serving(tmp_path / "home", repo.path, "--issuer", issuer.url, "--public-url", PUBLIC) as url:
        yield World(url, issuer)


def until(world: World, token: str, status: int) -> str:
    """Call until the answer has a status, and return what is said."""
    deadline = time.monotonic() + 60
    while (told := world.call(token))[0] != status:
        assert time.monotonic() < deadline, told
        time.sleep(0.1)
    return told[1]


def fresh() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def test_tokens_of_both_kinds_of_key_count(world: World) -> None:
    for name, algorithm in (("rsa", "RS256"), ("ec", "ES256")):
        token = world.issuer.token(world.issuer.keys[name], name, algorithm, sub=name)
        status, text = world.call(token, "clone", name=f"{name}-own")
        assert status == 200
        assert json.loads(text)["result"]["structuredContent"]["workspaces"][0]["owner"] == f"oauth:{name}@{world.issuer.url}"
    other = world.issuer.token(world.issuer.keys["rsa"], sub="ben")
    assert "rsa-own" not in world.call(other, "status")[1]


def test_scopes_are_roles(world: World) -> None:
    def code(scope: str) -> str:
        told = world.call(world.issuer.token(world.issuer.keys["rsa"], scope=scope), "clone")[1]
        return str(json.loads(told)["result"]["structuredContent"].get("error", {}).get("code", "yes"))

    assert code("workspaces:read openid") == "not_allowed"
    assert code("openid workspaces:merge") == "yes"
    status, challenge = world.call(world.issuer.token(world.issuer.keys["rsa"], scope="openid"))
    assert status == 403 and "insufficient_scope" in challenge


def test_what_is_not_of_the_issuer_for_this_server_and_now_does_not_count(world: World) -> None:
    key, now = world.issuer.keys["rsa"], int(time.time())
    stranger = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    good = world.issuer.token(key)
    header, body, signature = good.split(".")
    unsigned = jwt.encode({"iss": world.issuer.url, "aud": f"{PUBLIC}/mcp", "sub": "anna", "exp": now + 300}, "", algorithm="none")
    bad = {
        "another audience": world.issuer.token(key, aud="https://else.example/mcp"),
        "no audience": world.issuer.token(key, aud=None),
        "another issuer": world.issuer.token(key, iss="https://else.example"),
        "over": world.issuer.token(key, exp=now - 60),
        "never over": world.issuer.token(key, exp=None),
        "nobody's": world.issuer.token(key, sub=None),
        "not yet": world.issuer.token(key, nbf=now + 300),
        "a stranger's key": world.issuer.token(stranger),
        "an unknown key": world.issuer.token(stranger, "unknown"),
        "unsigned": unsigned,
        "signed with what is public": _forged(public, world, now),
        "cut": f"{header}.{body}.",
        "changed": f"{header}.{body[:-2]}AA.{signature}",
    }
    for why, token in bad.items():
        assert world.call(token)[0] == 401, why
    assert world.call(good)[0] == 200


def _forged(public: str, world: World, now: int) -> str:
    """Sign with the public key as if it were a shared secret: PyJWT itself refuses to."""

    def coded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = {"iss": world.issuer.url, "aud": f"{PUBLIC}/mcp", "sub": "anna", "exp": now + 300}
    text = coded(json.dumps({"alg": "HS256", "kid": "rsa"}).encode()) + "." + coded(json.dumps(claims).encode())
    return text + "." + coded(hmac.digest(public.encode(), text.encode(), hashlib.sha256))


def test_who_has_no_token_is_told_where_to_get_one(world: World) -> None:
    status, challenge = world.call("")
    place = f"{PUBLIC}/.well-known/oauth-protected-resource/mcp"
    assert status == 401 and f'resource_metadata="{place}"' in challenge
    request = urllib.request.Request(world.url.removesuffix("/mcp") + place.removeprefix(PUBLIC), headers=HOST)
    with urllib.request.urlopen(request, timeout=30) as answer:
        told = json.loads(answer.read())
    assert (told["resource"], told["authorization_servers"]) == (f"{PUBLIC}/mcp", [world.issuer.url])
    assert "workspaces:merge" in told["scopes_supported"]


def test_an_issuer_that_anybody_could_answer_for_is_refused(tmp_path: Path, repo: Repo) -> None:
    done = run(tmp_path, repo.path, "serve", "--http", "127.0.0.1:0", "--issuer", "http://issuer.example")
    assert done.returncode == 2 and "https://" in done.stderr and "Traceback" not in done.stderr


def test_keys_that_change_count_without_a_restart(tmp_path: Path, repo: Repo) -> None:
    """A new key signs: its tokens count at once, and those of the key that went do not any more."""
    issuer = Issuer(keys={"old": fresh()})
    with publishing(issuer), asking(tmp_path, repo, issuer) as world:
        old = issuer.token(issuer.keys["old"], "old", "ES256")
        assert world.call(old)[0] == 200
        issuer.keys = {"new": fresh()}
        until(world, issuer.token(issuer.keys["new"], "new", "ES256"), 200)
        assert world.call(old)[0] == 401


def test_a_token_counts_until_its_time_is_over(world: World) -> None:
    key = world.issuer.keys["rsa"]
    token = world.issuer.token(key, exp=int(time.time()) + 8)
    assert world.call(token)[0] == 200
    assert "invalid_token" in until(world, token, 401)
    assert world.call(world.issuer.token(key))[0] == 200


def test_an_issuer_that_is_down_is_said_to_be_and_asked_again(tmp_path: Path, repo: Repo) -> None:
    """At the start, and later: whose key is known is let in, whose is not is told to come again, and nobody that a token is bad."""
    issuer = Issuer(keys={"one": fresh()})
    with publishing(issuer):
        pass
    with asking(tmp_path, repo, issuer) as world:
        token = issuer.token(issuer.keys["one"], "one", "ES256")
        status, told = world.call(token)
        assert (status, "issuer" in told, "Nothing was done" in told) == (503, True, True)
        assert world.call("nonsense")[0] == 401
        with publishing(issuer):
            until(world, token, 200)
        issuer.keys["two"] = fresh()
        other = issuer.token(issuer.keys["two"], "two", "ES256")
        assert world.call(token)[0] == 200
        until(world, other, 503)
        with publishing(issuer):
            until(world, other, 200)


def test_nobody_whose_key_is_known_waits_for_an_issuer_that_hangs(tmp_path: Path, repo: Repo) -> None:
    issuer = Issuer(keys={"one": fresh()})
    with publishing(issuer), asking(tmp_path, repo, issuer) as world:
        token, stranger = issuer.token(issuer.keys["one"], "one", "ES256"), issuer.token(fresh(), "two", "ES256")
        assert world.call(token)[0] == 200
        until(world, stranger, 401)
        issuer.hangs.set()
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(until, world, stranger, 503) for _ in range(8)]
            answered = [world.call(token)[0] for _ in range(3)]
            assert not all(each.done() for each in waiting), "none had to wait"
            assert answered == [200] * 3
            assert all("issuer" in each.result() for each in waiting)
