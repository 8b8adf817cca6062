"""A sign-in provider on the loopback (OpenID Connect): discovery, keys, codes with PKCE, and tokens signed for real."""

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET, KID = "portal", "portals-secret", "key-1"


class SignInProvider:
    """Says of whoever comes that they are `person`. `wrong_...` makes it say something that is not so."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.person: dict[str, object] = {}
        self.wrong_claims: dict[str, object] = {}
        self.wrong_discovery: dict[str, object] = {}
        self.wrong_key: object = None
        self.algorithm = "RS256"
        self.codes: dict[str, dict[str, str]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stops answering."""
        self.server.shutdown()
        self.server.server_close()

    def setting(self, **other: str) -> dict[str, str]:
        """What the portal is told of it."""
        told = {"id": "school-id", "name": "School ID", "issuer": self.issuer, "client_id": CLIENT, "secret": SECRET}
        return {**told, **other}

    def visited(self, address: str) -> str:
        """Where its page sends a browser that came by `address` back to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert (asked["client_id"], asked["code_challenge_method"]) == (CLIENT, "S256")
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self) -> str:
        """An ID token about the person."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, **self.person, **self.wrong_claims}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.wrong_key or self.key, algorithm=self.algorithm, headers={"kid": KID})

    def answers(self, path: str, sent: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """What a request gets."""
        if path == "/.well-known/openid-configuration":
            places = {
                name: f"{self.issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
            }
            return 200, {"issuer": self.issuer, **places, **self.wrong_discovery}
        if path == "/jwks_uri":
            key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
            return 200, {"keys": [{**key, "kid": KID, "alg": "RS256", "use": "sig"}]}
        asked = self.codes.pop(sent.get("code", ""), None)
        proof = base64.urlsafe_b64encode(hashlib.sha256(sent.get("code_verifier", "").encode()).digest())
        is_right = asked and asked["code_challenge"] == proof.rstrip(b"=").decode()
        if path == "/token_endpoint" and is_right and sent.get("client_secret") == SECRET:
            return 200, {"access_token": "x", "token_type": "Bearer", "id_token": self.token()}
        return 400, {"error": "invalid_grant"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/authorization_endpoint"):
                    # Its page: whoever comes is the person, and is sent back at once.
                    self.send_response(302)
                    self.send_header("Location", provider.visited(self.path))
                    self.end_headers()
                else:
                    self._answer({})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._answer({name: values[0] for name, values in parse_qs(body).items()})

            def _answer(self, sent: dict[str, str]) -> None:
                status, told = provider.answers(urlsplit(self.path).path, sent)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(told).encode())

            def log_message(self, *args: object) -> None:
                """Tests are quiet."""

        return Handler
