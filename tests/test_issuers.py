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
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = issuer.answer(self.path)
            self.send_response(404 if page is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(page).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as pages, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        issuer.url = f"http://127.0.0.1:{pages.server_address[1]}"
        repo = Repo.create(home / "shop")
        repo.write("cart.py", "line\n")
        repo.commit("start")
        Project.initialize(repo.path)
        with serving(home, repo.path, "--issuer", issuer.url, "--public-url", PUBLIC) as url:
            yield World(url, issuer)
        pages.shutdown()


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
