"""Why a host did not know a key: what the portal's own rows say of it, and nothing of anybody else's."""

import base64
import html
import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import services as district_services
from accounts.models import SftpAccount, User
from hosts.core.signin import fingerprint
from hosts.models import Host, SignIn
from keys import selectors, services
from keys.models import HELD_BACK, FoundLine, KeyFile, KeySet, SharedKeyRequest
from keys.refusals import Memory, Why, offered_by
from keys.sets import By
from tests.factories import DistrictFactory, KeyFactory, StaffFactory
from tests.signing_in import fresh

from .samples import text, words

ED25519, RSA = (fingerprint(base64.b64decode(words(name)["base64"])) for name in ("ed25519", "rsa3072"))


def _refused(account: SftpAccount, *prints: str, at: datetime | None = None, reason: str = "unknown-key") -> SignIn:
    return SignIn.objects.create(
        host=Host.objects.get(),
        username=account.username,
        at=at or timezone.now(),
        accepted=False,
        fingerprint=prints[0] if prints else "",
        offered=list(prints),
        address="198.51.100.7",
        reason=reason,
    )


def _save(account: SftpAccount, *names: str) -> None:
    version = KeyFile.objects.get(account=account).version
    pasted = "\n".join(text(name) for name in names)
    services.keys_save(account, pasted, seen_version=version, by=By(User.objects.first()))


def _brought(account: SftpAccount, at: datetime | None = None) -> None:
    """As if a worker had brought it."""
    at = at or timezone.now()
    account.key_sets.filter(on_host=None).update(on_host=at)
    KeyFile.objects.filter(account=account).update(state=KeyFile.State.ON_HOST, on_host_since=at)


def _saved(account: SftpAccount) -> None:
    _save(account, "ed25519")


def _came(account: SftpAccount) -> None:
    _save(account, "ed25519")
    _brought(account, timezone.now() + timedelta(seconds=5))


def _was_there(account: SftpAccount) -> None:
    _save(account, "ed25519")
    _brought(account, timezone.now() - timedelta(seconds=5))


def _disabled(account: SftpAccount) -> None:
    _was_there(account)
    account.keys.update(disabled=timezone.now(), mark_code="key-rsa-short", mark_reason="It is too short.")


def _held_back(account: SftpAccount) -> None:
    _was_there(account)
    account.keys.update(disabled=timezone.now(), mark_code=HELD_BACK, mark_reason="Please ask us.")


def _apart(account: SftpAccount) -> None:
    _was_there(account)
    account.keys.update(networks=["192.0.2.0/24"])
    KeyFile.objects.filter(account=account).update(networks=["198.51.100.0/24"])


def _enabled(account: SftpAccount) -> None:
    """Disabled once, works again, and that is on its way."""
    _was_there(account)
    _set(account, KeySet.Cause.ENABLED, changed=[{"fingerprint": ED25519, "label": "", "comment": ""}])


def _reopened(account: SftpAccount) -> None:
    _was_there(account)
    _set(account, KeySet.Cause.ACCOUNT)


def _set(account: SftpAccount, cause: KeySet.Cause, **facts: object) -> None:
    file = KeyFile.objects.get(account=account)
    KeyFile.objects.filter(pk=file.pk).update(version=file.version + 1, state=KeyFile.State.WAITING)
    KeySet.objects.create(account=account, version=file.version + 1, cause=cause, **facts)


def _gone(cause: KeySet.Cause) -> Callable[[SftpAccount], None]:
    def told(account: SftpAccount) -> None:
        _was_there(account)
        account.keys.all().delete()
        _set(account, cause, removed=[{"fingerprint": ED25519, "label": "", "comment": ""}])

    return told


def _asked(state: SharedKeyRequest.State) -> Callable[[SftpAccount], None]:
    def told(account: SftpAccount) -> None:
        SharedKeyRequest.objects.create(account=account, fingerprint=ED25519, state=state, reason="Make your own.")

    return told


def _found(account: SftpAccount) -> None:
    told = {"account": account, "username": account.username, "line": text("ed25519"), "fingerprint": ED25519}
    FoundLine.objects.create(host=Host.objects.get(), line_digest="x", **told)


def _elsewhere(account: SftpAccount) -> None:
    KeyFactory(account=DistrictFactory(name="Oak Hill").sftp_account, line=text("ed25519"))


# What was before -> why, and a sentence of the page.
STORIES: dict[str, tuple[Callable[[SftpAccount], None], Why, str]] = {
    "saved, and on its way": (
        _saved,
        Why.NOT_YET,
        r"saved at .* and is not on the host yet\. It will be by \d",
    ),
    "came a moment later": (_came, Why.CAME_SINCE, r"saved at [\d: A-Z]+ and reached the host at \d.* Try again now\."),
    "works again, on its way": (_enabled, Why.NOT_YET, r"is not on the host yet\. It will be by \d"),
    "the district was reopened": (_reopened, Why.NOT_YET, r"is not on the host yet\. It will be by \d"),
    "was there all the time": (_was_there, Why.OURS, r"one of yours, .* write to our support"),
    "disabled": (_disabled, Why.DISABLED, r"disabled since .*: It is too short\."),
    "held back": (_held_back, Why.HELD_BACK, r"Our support holds its key back since .*: Please ask us\."),
    "no network in common": (_apart, Why.NO_NETWORK, r"no address is allowed both"),
    "removed": (_gone(KeySet.Cause.REMOVED), Why.REMOVED, r"Its key was removed at"),
    "not in the box any more": (_gone(KeySet.Cause.SAVED), Why.REMOVED, r"Its key was removed at"),
    "replaced": (_gone(KeySet.Cause.RETIRED), Why.RETIRED, r"Its key was replaced"),
    "lost": (_gone(KeySet.Cause.LOST), Why.LOST, r"belonging to a lost computer"),
    "support is asked": (_asked(SharedKeyRequest.State.WAITING), Why.ASKED, r"is not taken yet: our support was asked"),
    "declined": (_asked(SharedKeyRequest.State.DECLINED), Why.DECLINED, r"declined its key: Make your own\."),
    "found on the host": (_found, Why.FOUND, r"without having been saved here"),
    "never seen": (lambda account: None, Why.UNKNOWN, r"is not one of yours here"),
    "of another district": (_elsewhere, Why.UNKNOWN, r"is not one of yours here"),
}


@pytest.mark.parametrize("name", STORIES)
def test_the_page_says_why_the_host_did_not_know_the_key(account: SftpAccount, dana: User, name: str) -> None:
    happened, why, sentence = STORIES[name]
    _brought(account, timezone.now() - timedelta(days=1))
    happened(account)
    refused = _refused(account, ED25519)
    account = SftpAccount.objects.get(pk=account.pk)
    offered = offered_by(Memory(account), refused)
    assert offered is not None
    assert (offered.why, offered.fingerprint) == (why, ED25519)
    assert re.search(sentence, _page(account, dana))


def _page(account: SftpAccount, person: User) -> str:
    client = Client()
    client.force_login(person)
    answer = fresh(client).get(reverse("technical_settings", args=[account.district.slug]))
    told = html.unescape(re.sub(r"<[^>]*>", "", answer.content.decode()))
    assert "Oak" not in told
    return " ".join(told.split())


def test_of_several_keys_the_one_that_would_work_is_told(account: SftpAccount) -> None:
    _save(account, "ed25519", "rsa3072")
    account.keys.filter(fingerprint=ED25519).update(disabled=timezone.now())
    offered = offered_by(Memory(account), _refused(account, "SHA256:" + "x" * 43, ED25519, RSA))
    assert offered is not None
    assert (offered.why, offered.fingerprint) == (Why.NOT_YET, RSA)


@pytest.mark.parametrize(
    ("hours", "why", "sentence"),
    [
        (None, Why.NOT_YET, r"does not know your user name yet\. It will by \d"),
        (1, Why.CAME_SINCE, r"did not know your user name yet\. It does since .* try again now"),
        (-1, Why.OURS, r"did not know this user name at that time"),
    ],
)
def test_a_new_account_is_told_when_the_host_knows_its_name(
    account: SftpAccount, dana: User, hours: int | None, why: Why, sentence: str
) -> None:
    if hours is not None:
        _brought(account, timezone.now() + timedelta(hours=hours))
    offered = offered_by(Memory(account), _refused(account, reason="unknown-account"))
    assert offered is not None
    assert offered.why is why
    assert re.search(sentence, _page(account, dana))


def test_whoever_uses_the_old_user_name_is_told_the_new_one(account: SftpAccount, dana: User) -> None:
    _save(account, "ed25519")
    refused = _refused(account, ED25519)
    district_services.district_rename(account.district, name="Smithville", domain="new.k12.oh.us", actor=None)
    account = SftpAccount.objects.get(pk=account.pk)
    assert offered_by(Memory(account), refused).why is Why.OLD_NAME
    assert f"{refused.username}, which is no longer yours. Use new.k12.oh.us" in _page(account, dana)


@pytest.mark.parametrize("reason", ["expired-key", "address-not-allowed", "too-many-keys", "shell-refused"])
def test_where_the_host_says_why_itself_nothing_is_added(account: SftpAccount, reason: str) -> None:
    _save(account, "ed25519")
    assert offered_by(Memory(account), _refused(account, ED25519, reason=reason)) is None


@pytest.mark.parametrize(
    ("tried", "words"),
    [("shell", "a shell or a command"), ("forwarding", "a forwarded connection"), ("subsystem", "another service")],
)
def test_who_tried_a_shell_reads_that_there_is_none(account: SftpAccount, dana: User, tried: str, words: str) -> None:
    _refused(account, ED25519, reason="shell-refused")
    SignIn.objects.update(tried=tried)
    assert f"The key was right, but the program asked for {words}" in _page(account, dana)


def test_support_reads_the_same(account: SftpAccount, db: None) -> None:
    _save(account, "ed25519")
    _refused(account, ED25519)
    assert "is not on the host yet" in _page(account, StaffFactory())
    assert selectors.sign_in_state(account).offered.why is Why.NOT_YET
