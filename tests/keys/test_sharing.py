"""One key in two districts: refused without saying whose, told to staff, who allow or decline with a reason."""

import pytest

from accounts import services as district_services
from accounts.core.roles import Role
from accounts.models import AuditEntry, District, OutboxMessage, SftpAccount, User
from keys import nightly, services
from keys.models import AccountKey, KeyFile, LostKey, SharedKeyRequest
from keys.services import saving, single
from keys.sets import By
from keys.wanted import wanted
from tests.factories import DistrictFactory, KeyFactory, MembershipFactory, StaffFactory
from tests.rows import everything

from .samples import text


@pytest.fixture
def oak(db: None) -> SftpAccount:
    """The account that has the key already."""
    oak = MembershipFactory(user__email="olga@oakhill.example", district=DistrictFactory(name="Oak Hill")).district
    KeyFactory(account=oak.sftp_account, line=text("ed25519"))
    return oak.sftp_account


@pytest.fixture
def support(db: None) -> User:
    return StaffFactory(name="Sam Support")


def _save(account: SftpAccount, pasted: str = text("ed25519"), *, actor: User | None = None) -> services.Difference:
    by = By(actor or User.objects.get(email="dana@smithville.example"), "198.51.100.7", "on the telephone")
    version = KeyFile.objects.get(account=account).version
    return services.keys_save(account, pasted, seen_version=version, by=by)[0]


def _lines_of(account: SftpAccount) -> list[str]:
    """The types of the keys that its file should hold."""
    (one,) = wanted(KeyFile.objects.filter(account=account))
    return [line.split()[0] for line in one.content.decode().splitlines()[1:]]


def _refused(account: SftpAccount, pasted: str = text("ed25519")) -> services.KeyElsewhere:
    with pytest.raises(services.KeyElsewhere) as refused:
        _save(account, pasted)
    return refused.value


def _decide(account: SftpAccount, actor: User, *, allow: bool, reason: str = "Both use one provider.") -> None:
    request = account.shared_key_requests.get()
    services.shared_key_decide(request, allow=allow, reason=reason, actor=actor, seen=request.state)


def test_a_key_of_another_account_is_refused_and_nothing_of_the_paste_is_stored(
    oak: SftpAccount, account: SftpAccount
) -> None:
    refused = _refused(account, f"{text('rsa3072')}\n{text('ed25519')}")
    assert ([key.algorithm for key in refused.keys], refused.lost) == (["ssh-ed25519"], ())
    assert (account.keys.count(), KeyFile.objects.get(account=account).version) == (0, 1)
    assert oak.keys.count() == 1


def test_the_district_does_not_learn_whose_it_is(oak: SftpAccount, account: SftpAccount, support: User) -> None:
    problem = services.refusal(_refused(account).keys[0], 3, is_lost=False)
    told = [problem.code, problem.message, problem.hint]
    told += [mail.subject + mail.text for mail in OutboxMessage.objects.exclude(to=support.email)]
    told += [str(entry.details) for entry in AuditEntry.objects.filter(district=account.district.slug)]
    assert (problem.code, problem.line) == ("key-elsewhere", 3)
    assert not any(word in text for text in told for word in ("Oak", oak.username, oak.district.slug))


def test_nor_does_the_owner_learn_that_somebody_tried(oak: SftpAccount, account: SftpAccount, support: User) -> None:
    _refused(account)
    assert not OutboxMessage.objects.filter(to="olga@oakhill.example").exists()
    assert KeyFile.objects.get(account=oak).version == 1


def test_the_answer_is_the_same_whether_the_key_is_in_use_or_lost(oak: SftpAccount, account: SftpAccount) -> None:
    first = services.refusal(_refused(account).keys[0], 1, is_lost=False)
    services.key_lost(oak.keys.get(), by=By(None), confirmed=oak.username)
    refused = _refused(account)
    assert refused.lost == ()
    assert services.refusal(refused.keys[0], 1, is_lost=False) == first


def test_staff_who_decide_are_told_once_of_each_key(oak: SftpAccount, account: SftpAccount, support: User) -> None:
    administrator = StaffFactory(staff_role=Role.SYSTEM_ADMINISTRATOR)
    StaffFactory(staff_role=Role.OPS)
    KeyFactory(account=oak, line=text("ecdsa256"))
    for _ in range(3):
        _refused(account)
    mails = OutboxMessage.objects.filter(kind="shared-key")
    assert set(mails.values_list("to", flat=True)) == {support.email, administrator.email}
    assert mails.count() == 2
    request = account.shared_key_requests.get()
    assert (request.state, request.asked_by.email) == ("waiting", "dana@smithville.example")
    for told in (request.fingerprint, account.district.name, "dana@smithville.example"):
        assert told in mails[0].text
    _refused(account, text("ecdsa256"))
    assert (mails.count(), account.shared_key_requests.count()) == (4, 2)


def test_once_allowed_the_same_save_works_for_this_account_only(
    oak: SftpAccount, account: SftpAccount, support: User, dana: User
) -> None:
    _refused(account)
    _decide(account, support, allow=True)
    assert [key.algorithm for key in _save(account).added] == ["ssh-ed25519"]
    assert AccountKey.objects.filter(fingerprint=account.keys.get().fingerprint).count() == 2
    mail = OutboxMessage.objects.get(kind="shared-key-decided")
    assert mail.to == dana.email
    assert "Both use one provider." in mail.text
    assert "Oak" not in mail.text
    entry = AuditEntry.objects.get(action="shared key allowed")
    assert (entry.actor, entry.district) == (support.email, account.district.slug)
    assert entry.details == {"fingerprint": account.keys.get().fingerprint, "reason": "Both use one provider."}
    third = DistrictFactory().sftp_account
    _refused(third)


def test_an_allowed_key_may_be_the_one_in_place_of_another(
    oak: SftpAccount, account: SftpAccount, support: User, dana: User
) -> None:
    _save(account, text("rsa3072"))
    by = By(dana, "198.51.100.7")
    with pytest.raises(services.KeyElsewhere):
        services.key_replace(account.keys.get(), text("ed25519"), days=7, by=by)
    _decide(account, support, allow=True)
    services.key_replace(account.keys.get(), text("ed25519"), days=7, by=by)
    assert account.keys.count() == 2


def test_once_declined_it_stays_refused_and_staff_hear_of_it_no_more(
    oak: SftpAccount, account: SftpAccount, support: User
) -> None:
    _refused(account)
    _decide(account, support, allow=False, reason="Please make a key of your own.")
    _refused(account)
    assert account.keys.count() == 0
    assert account.shared_key_requests.get().state == "declined"
    assert OutboxMessage.objects.filter(kind="shared-key").count() == 1
    assert "Please make a key of your own." in OutboxMessage.objects.get(kind="shared-key-decided").text


def test_staff_may_change_their_mind_and_the_district_hears_of_both(
    oak: SftpAccount, account: SftpAccount, support: User
) -> None:
    _refused(account)
    _decide(account, support, allow=False)
    _decide(account, support, allow=True)
    assert _save(account).added
    assert OutboxMessage.objects.filter(kind="shared-key-decided").count() == 2


def test_what_is_decided_already_is_not_decided_again(oak: SftpAccount, account: SftpAccount, support: User) -> None:
    _refused(account)
    _decide(account, support, allow=True)
    before = everything()
    with pytest.raises(services.AlreadyDecided):
        _decide(account, support, allow=True, reason="again")
    assert everything() == before


@pytest.mark.parametrize("reason", ["", " \n "])
@pytest.mark.parametrize("allow", [True, False])
def test_a_decision_wants_a_reason(
    oak: SftpAccount, account: SftpAccount, support: User, allow: bool, reason: str
) -> None:
    _refused(account)
    before = everything()
    with pytest.raises(services.ReasonMissing):
        _decide(account, support, allow=allow, reason=reason)
    assert everything() == before


def test_staff_who_save_for_a_district_are_asked_too(oak: SftpAccount, account: SftpAccount, support: User) -> None:
    with pytest.raises(services.KeyElsewhere):
        _save(account, actor=support)
    assert account.shared_key_requests.get().asked_by == support


def test_nobody_locks_an_owner_out_by_pasting_the_key_first(
    oak: SftpAccount, account: SftpAccount, support: User
) -> None:
    """Who had it first goes on working; who comes second gets it as soon as staff know."""
    _refused(account)
    olga = User.objects.get(email="olga@oakhill.example")
    _save(oak, f"{text('ed25519')}\n{text('ecdsa256')}", actor=olga)
    assert oak.keys.count() == 2
    _decide(account, support, allow=True)
    _save(account)
    assert account.keys.count() == 1


def test_a_key_the_account_has_is_asked_about_no_more(oak: SftpAccount, account: SftpAccount) -> None:
    KeyFactory(account=account, line=text("ed25519"))
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    assert not SharedKeyRequest.objects.exists()


def test_the_keys_of_closed_districts_are_free(oak: SftpAccount, account: SftpAccount) -> None:
    District.objects.filter(pk=oak.district_id).update(state="closed")
    assert _save(account).added


def test_the_keys_of_suspended_districts_are_not(oak: SftpAccount, account: SftpAccount) -> None:
    District.objects.filter(pk=oak.district_id).update(state="suspended")
    _refused(account)


def test_a_key_that_was_lost_elsewhere_is_a_matter_of_staff(
    oak: SftpAccount, account: SftpAccount, support: User
) -> None:
    services.key_lost(oak.keys.get(), by=By(None), confirmed=oak.username)
    District.objects.filter(pk=oak.district_id).update(state="closed")
    _refused(account)
    assert LostKey.objects.get().account == oak
    _decide(account, support, allow=True, reason="It was found again.")
    assert _save(account).added


def test_of_a_paste_with_both_kinds_each_is_told_apart(oak: SftpAccount, account: SftpAccount) -> None:
    _save(account, f"{text('rsa3072')}\n{text('ecdsa256')}")
    services.key_lost(account.keys.get(algorithm="ssh-rsa"), by=By(None))
    refused = _refused(account, f"{text('ecdsa256')}\n{text('rsa3072')}\n{text('ed25519')}")
    assert [key.algorithm for key in refused.keys] == ["ssh-rsa", "ssh-ed25519"]
    assert [key.algorithm for key in refused.lost] == ["ssh-rsa"]
    assert [one.label for one in account.shared_key_requests.all()] == ["ED25519"]


def test_a_save_without_a_reason_of_staff_asks_nobody(oak: SftpAccount, account: SftpAccount, support: User) -> None:
    before = everything()
    with pytest.raises(services.ReasonMissing):
        services.keys_save(account, text("ed25519"), seen_version=1, by=By(support))
    assert everything() == before


@pytest.mark.parametrize("way", ["save", "replace"])
def test_of_two_accounts_that_take_one_key_in_the_same_moment_the_later_is_refused(
    account: SftpAccount, dana: User, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    mine = KeyFactory(account=account, line=text("rsa3072"))
    other = DistrictFactory(name="Oak Hill").sftp_account
    module = saving if way == "save" else single
    checked = module.sharing_checked

    def other_is_quicker(*told: object) -> None:
        checked(*told)
        KeyFactory(account=other, line=text("ed25519"))

    monkeypatch.setattr(module, "sharing_checked", other_is_quicker)
    ways = {
        "save": lambda: _save(account, f"{text('rsa3072')}\n{text('ed25519')}"),
        "replace": lambda: services.key_replace(mine, text("ed25519"), days=7, by=By(dana)),
    }
    with pytest.raises(services.KeyElsewhere):
        ways[way]()
    assert [key.pk for key in account.keys.all()] == [mine.pk]
    assert KeyFile.objects.get(account=account).version == 1
    assert SharedKeyRequest.objects.get().account == account


def test_a_key_that_is_lost_after_it_was_allowed_is_asked_about_anew(
    oak: SftpAccount, account: SftpAccount, support: User
) -> None:
    _refused(account)
    _decide(account, support, allow=True)
    services.key_lost(oak.keys.get(), by=By(None), confirmed=oak.username)
    _refused(account)
    _refused(account)
    request = account.shared_key_requests.get()
    assert (request.state, request.decided, request.reason) == ("waiting", None, "")
    assert OutboxMessage.objects.filter(kind="shared-key").count() == 2
    _decide(account, support, allow=True, reason="It was found again.")
    assert _save(account).added


def test_a_key_this_account_lost_itself_does_not_end_the_leave_of_another(
    oak: SftpAccount, account: SftpAccount, support: User
) -> None:
    _refused(account)
    _decide(account, support, allow=True)
    _save(account)
    services.key_lost(account.keys.get(), by=By(None), confirmed=account.username)
    _refused(account)
    assert account.shared_key_requests.get().state == "allowed"


def test_a_decision_on_what_is_another_by_now_is_none(oak: SftpAccount, account: SftpAccount, support: User) -> None:
    _refused(account)
    _decide(account, support, allow=True)
    before = everything()
    request = account.shared_key_requests.get()
    with pytest.raises(services.AlreadyDecided):
        services.shared_key_decide(request, allow=False, reason="No.", actor=support, seen="waiting")
    assert everything() == before


def test_who_pastes_a_declined_key_again_reads_why(oak: SftpAccount, account: SftpAccount, support: User) -> None:
    _refused(account)
    _decide(account, support, allow=False, reason="Please make a key of your own.")
    refused = _refused(account)
    key = refused.keys[0]
    problem = services.refusal(key, 1, is_lost=False, declined=refused.declined.get(key.fingerprint))
    assert (problem.code, problem.line) == ("key-elsewhere", 1)
    assert "declined" in problem.message
    assert "Please make a key of your own." in problem.message
    assert "We have told our support" not in problem.message


def _allowed_and_saved(account: SftpAccount, support: User) -> AccountKey:
    _refused(account)
    _decide(account, support, allow=True)
    _save(account)
    return account.keys.get(algorithm="ssh-ed25519")


def test_what_is_declined_after_it_was_allowed_is_disabled_with_the_reason_and_a_mail(
    oak: SftpAccount, account: SftpAccount, support: User
) -> None:
    KeyFactory(account=account, line=text("rsa3072"), position=1)
    _refused(account, f"{text('rsa3072')}\n{text('ed25519')}")
    _decide(account, support, allow=True)
    _save(account, f"{text('rsa3072')}\n{text('ed25519')}")
    key = account.keys.get(algorithm="ssh-ed25519")
    _decide(account, support, allow=False, reason="The provider has gone.")
    key.refresh_from_db()
    assert (key.mark_code, key.disabled is not None) == ("key-elsewhere", True)
    assert "The provider has gone." in key.mark_reason
    assert _lines_of(account) == ["ssh-rsa"]
    made = account.key_sets.first()
    assert (made.cause, made.changed[0]["fingerprint"]) == ("disabled", key.fingerprint)
    mail = OutboxMessage.objects.filter(kind="shared-key-decided", to="dana@smithville.example").first()
    assert "The provider has gone." in mail.text
    assert "its uploads stop then" in mail.text
    assert oak.keys.get().disabled is None
    # Not by night either, and once more allowed it works as before.
    nightly.judge_all()
    key.refresh_from_db()
    assert key.disabled is not None
    _decide(account, support, allow=True)
    assert account.keys.get(pk=key.pk).disabled is None


def test_the_only_key_that_works_is_disabled_only_when_staff_type_the_user_name(
    oak: SftpAccount, account: SftpAccount, support: User
) -> None:
    _allowed_and_saved(account, support)
    request = account.shared_key_requests.get()
    told = {"allow": False, "reason": "Gone.", "actor": support, "seen": "allowed"}
    before = everything()
    for typed in ("", "yes"):
        with pytest.raises(services.ShutOut):
            services.shared_key_decide(request, **told, confirmed=typed)
    assert everything() == before
    services.shared_key_decide(request, **told, confirmed=account.username)
    assert account.keys.get().disabled is not None


# --- A district that is closed and opened again ------------------------------------------------------------------


def _state(account: SftpAccount, state: str) -> None:
    district_services.district_state_set(account.district, District.State(state), reason="Test.", actor=None)


def _reopened(oak: SftpAccount, account: SftpAccount, *, lost: bool = False, by_way_of: str = "") -> AccountKey:
    """Oak Hill was closed, the other took (and perhaps lost) its key, and Oak Hill is open again."""
    _state(oak, "closed")
    _save(account)
    if lost:
        services.key_lost(account.keys.get(), by=By(None), confirmed=account.username)
    for state in filter(None, (by_way_of, "active")):
        _state(oak, state)
    return oak.keys.get()


REOPENED = {"in use": {}, "lost": {"lost": True}, "suspended first": {"by_way_of": "suspended"}}


@pytest.mark.parametrize("how", REOPENED.values(), ids=REOPENED)
def test_a_reopened_district_does_not_share_a_key_unseen(
    oak: SftpAccount, account: SftpAccount, support: User, how: dict[str, object]
) -> None:
    key = _reopened(oak, account, **how)
    assert (key.mark_code, key.disabled is not None, key.disable_on is not None) == ("key-elsewhere", True, True)
    assert _lines_of(oak) == []
    request = oak.shared_key_requests.get()
    assert (request.state, request.fingerprint) == ("waiting", key.fingerprint)
    mail = OutboxMessage.objects.get(kind="shared-key", to=support.email)
    assert "was closed and is open again" in mail.text
    told = OutboxMessage.objects.get(kind="key-disabled")
    assert told.to == "olga@oakhill.example"
    assert account.district.name not in told.text
    nightly.judge_all()
    key.refresh_from_db()
    assert key.disabled is not None


def test_staff_let_such_a_key_work_again(oak: SftpAccount, account: SftpAccount, support: User) -> None:
    key = _reopened(oak, account)
    _decide(oak, support, allow=True)
    key.refresh_from_db()
    assert (key.mark_code, key.mark_reason, key.disabled, key.disable_on, key.marked) == ("", "", None, None, None)
    assert len(_lines_of(oak)) == 1
    assert (
        "The key works again as soon as the SFTP host has heard of it"
        in OutboxMessage.objects.get(kind="shared-key-decided").text
    )
    _state(oak, "closed")
    _state(oak, "active")
    assert oak.keys.get().disabled is None


def test_a_declined_one_stays_disabled(oak: SftpAccount, account: SftpAccount, support: User) -> None:
    _reopened(oak, account)
    _decide(oak, support, allow=False)
    key = oak.keys.get()
    assert key.disabled is not None
    assert "Both use one provider." in key.mark_reason
    assert oak.key_sets.filter(cause="disabled").count() == 1


def test_a_reopened_district_keeps_the_keys_nobody_else_has(oak: SftpAccount, account: SftpAccount) -> None:
    _state(oak, "closed")
    _state(oak, "active")
    assert oak.keys.get().disabled is None
    assert not SharedKeyRequest.objects.exists()


def test_who_had_a_key_first_is_not_disturbed_by_a_rest_or_another_name(
    oak: SftpAccount, account: SftpAccount, support: User
) -> None:
    _refused(account)
    _decide(account, support, allow=True)
    _save(account)
    _state(oak, "suspended")
    _state(oak, "active")
    district_services.district_rename(oak.district, name="Oak Hill", domain="oak.k12.oh.us", actor=None)
    assert oak.keys.get().disabled is None
