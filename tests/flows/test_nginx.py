"""The example of a proxy, deploy/nginx/sftp-portal.conf, run as it stands but for its names, ports and certificate."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from accounts.core.slowing import FREE_TRIES
from tests.hosts.clients import Ran, program, run
from tests.system_packages import find

from .conftest import PASSWORD
from .stack import EMBEDDED, ROOT, Portal, Stack, free_port, wait_for

EXAMPLE = ROOT / "deploy/nginx/sftp-portal.conf"
DANA = "dana@linden.example"
pytestmark = pytest.mark.parametrize("stack", [EMBEDDED], indirect=True)
MAIN = """daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{ worker_connections 64; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  include {folder}/sftp-portal.conf;
}}
"""


@dataclass(frozen=True, slots=True)
class Behind:
    """A portal and the proxy before it."""

    portal: Portal
    folder: Path
    plain: int
    secure: int
    slug: str

    @property
    def url(self) -> str:
        return f"https://localhost:{self.secure}"

    def curl(self, *words: str) -> Ran:
        """What curl says, told the certificate that the proxy must have."""
        return run([program("curl"), "-sS", "--cacert", str(self.folder / "cert.pem"), "-m", "30", *words])


def _certificate(folder: Path) -> None:
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    named = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(folder / "key.pem")]
    command = [program("openssl"), "req", "-x509", *made, *named, "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)


def _example(folder: Path, plain: int, secure: int, portal: int) -> None:
    """The file with what whoever installs it changes, and the ports, which are not ours to open here."""
    text = EXAMPLE.read_text("utf-8")
    changed = {
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen [::]:80;": "",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{secure} ssl http2;",
        "listen [::]:443 ssl http2;": "",
        "https://$host$request_uri": f"https://$host:{secure}$request_uri",
        "/etc/ssl/portal.example/fullchain.pem": f"{folder}/cert.pem",
        "/etc/ssl/portal.example/privkey.pem": f"{folder}/key.pem",
        "server_name portal.example;": "server_name localhost;",
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{portal};",
    }
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "sftp-portal.conf").write_text(text, "utf-8")
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user), "utf-8")


@pytest.fixture(scope="module")
def behind(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """Both started, and Linden with its administrator Dana."""
    folder = tmp_path_factory.mktemp("nginx")
    plain, secure = free_port(), free_port()
    portal = stack.portal(folder)
    portal.environment |= {"PUBLIC_URL": f"https://localhost:{secure}", "TRUSTED_PROXIES": "127.0.0.1"}
    _certificate(folder)
    _example(folder, plain, secure, int(portal.environment["PORT"]))
    server = subprocess.Popen([str(find("nginx")), "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        portal.start()
        slug = portal.inside("district", name="Linden", domain="linden.k12.oh.us", administrator=DANA)
        made = Behind(portal, folder, plain, secure, slug)
        wait_for("nginx answers", lambda: made.curl(f"{made.url}/healthz").code == 0, 30)
        yield made
    finally:
        server.terminate()
        server.wait(30)
        portal.close()


def test_a_person_signs_in_through_it_and_nothing_goes_unencrypted(behind: Behind, browser: Browser) -> None:
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"http://localhost:{behind.plain}/account/login/")
    assert page.url == f"{behind.url}/account/login/"
    page.get_by_label("E-mail").or_(page.get_by_label("Email")).first.fill(DANA)
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Sign in").first.click()
    page.wait_for_url(f"{behind.url}/districts/{behind.slug}/")
    assert {cookie["name"] for cookie in context.cookies() if not cookie["secure"]} == set()
    # Whence they came is told by the proxy.
    page.goto(f"{behind.url}/account/sessions/")
    expect(page.get_by_text("127.0.0.1").first).to_be_visible()
    context.close()


def test_browsers_are_told_to_keep_to_it_and_old_tls_is_refused(behind: Behind) -> None:
    told = behind.curl("-I", f"{behind.url}/account/login/").output.lower()
    assert "strict-transport-security: max-age=31536000" in told
    assert told.count("content-security-policy:") == 1
    assert "nginx/" not in told
    assert behind.curl("--tls-max", "1.1", f"{behind.url}/healthz").code != 0


def test_what_a_browser_says_of_its_address_is_not_believed(behind: Behind) -> None:
    """Made-up addresses do not get a guesser past the wait."""
    jar = str(behind.folder / "jar")
    login = f"{behind.url}/account/login/"
    behind.curl("-o", "/dev/null", "-c", jar, "-b", jar, login)
    cookies = [line.split("\t") for line in Path(jar).read_text().splitlines() if "csrf" in line]
    token = cookies[0][-1]
    form = [f"csrfmiddlewaretoken={token}", "login=nobody@linden.example", "password=not-this-one"]
    sent = [word for field in form for word in ("--data-urlencode", field)]
    answers = []
    for number in range(FREE_TRIES + 2):
        made_up = ["-H", f"X-Forwarded-For: 203.0.113.{number}", "-H", f"Referer: {login}"]
        answers.append("Too many wrong tries" in behind.curl("-b", jar, *made_up, *sent, login).output)
    assert answers == [False] * FREE_TRIES + [True] * 2


def test_large_forms_are_stopped_and_whole_exports_are_not(behind: Behind, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * 6 * 1024 * 1024)
    asked = ["-o", "/dev/null", "-w", "%{http_code}", "-F", f"files=@{large}"]
    assert behind.curl(*asked, f"{behind.url}/account/login/").output == "413"
    # The portal itself answers: whoever is not signed in is sent to the sign-in page, or refused without a token.
    check = behind.curl(*asked, f"{behind.url}/districts/{behind.slug}/uploads/check/")
    assert check.output in {"302", "403"}
    assert list((behind.folder / "body").rglob("*")) == []


def test_it_is_configured_as_the_page_on_settings_says(behind: Behind) -> None:
    told = run([str(find("nginx")), "-t", "-p", str(behind.folder), "-c", str(behind.folder / "nginx.conf")])
    assert told.code == 0
    assert "warn" not in told.output
