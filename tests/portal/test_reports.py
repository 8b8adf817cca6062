"""Reports of unexpected errors: by mail to ADMINS, and the page that DEBUG shows."""

import pytest
from django.conf import LazySettings
from django.core import mail
from django.test import Client
from django.urls import reverse

from keys.views import technical_settings

from .scene import ADMINISTRATOR, SUPPORT, Scene

SECRET = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ"
PRIVATE = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture
def broken_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of keys with a mistake, so that the error report is made with the text in its hands."""

    def read(*given: object) -> None:
        words = [str(one) for one in given]
        raise RuntimeError(f"A mistake of ours in {len(words)} words.")

    monkeypatch.setattr(technical_settings.services, "keys_read", read)
    monkeypatch.setattr(technical_settings, "parse_paste", read)


def _sent(scene: Scene, person: str, name: str) -> tuple[int, str]:
    client: Client = scene.client(person)
    client.raise_request_exception = False
    data = {"authorized_keys": PRIVATE, "version": 1, "reason": PRIVATE, "days": 7}
    answer = client.post(reverse(name, kwargs=scene.kwargs(name) if name == "key_replace" else _slug(scene)), data)
    return answer.status_code, answer.content.decode()


def _slug(scene: Scene) -> dict[str, object]:
    return {"slug": scene.districts["active"].slug}


@pytest.mark.usefixtures("broken_reader")
@pytest.mark.parametrize("person", [ADMINISTRATOR, SUPPORT])
@pytest.mark.parametrize("name", ["technical_settings", "technical_settings_check", "key_replace"])
def test_a_report_to_the_administrators_holds_nothing_that_was_pasted(
    scene: Scene, settings: LazySettings, name: str, person: str
) -> None:
    settings.ADMINS = [("Ada", "ada@vendor.example")]
    status, shown = _sent(scene, person, name)
    assert status == 500
    (letter,) = mail.outbox
    everything = f"{letter.subject}{letter.body}{letter.alternatives}"
    assert "A mistake of ours" in everything
    assert "authorized_keys" in everything
    assert SECRET not in everything
    assert SECRET not in shown


@pytest.mark.usefixtures("broken_reader")
@pytest.mark.parametrize("name", ["technical_settings", "technical_settings_check", "key_replace"])
def test_the_page_of_an_error_holds_nothing_that_was_pasted_with_debug_neither(
    scene: Scene, settings: LazySettings, name: str
) -> None:
    settings.DEBUG = True
    status, shown = _sent(scene, ADMINISTRATOR, name)
    assert status == 500
    assert "A mistake of ours" in shown
    assert "words" in shown
    assert SECRET not in shown
