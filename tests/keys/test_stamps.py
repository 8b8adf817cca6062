"""The tokens of stamps: made with a key, known by any that is kept."""

from cryptography.fernet import Fernet
from django.conf import LazySettings

from keys.stamps import is_ours, token_make


def _key() -> str:
    return Fernet.generate_key().decode("ascii")


def test_every_token_is_another_and_ours() -> None:
    made = {token_make() for _ in range(50)}
    assert len(made) == 50
    assert all(len(one) == 32 and is_ours(one) for one in made)


def test_a_token_that_is_changed_or_cut_is_nobodys() -> None:
    made = token_make()
    changed = f"{int(made[0], 16) ^ 1:x}{made[1:]}"
    for other in (changed, made[:-1], made[:16], made + made, "", "no hex at all"):
        assert not is_ours(other)


def test_a_newer_key_in_front_changes_nothing_and_the_older_keys_know_what_is_made_then(settings: LazySettings) -> None:
    old, new = _key(), _key()
    settings.SECRETS_KEYS = [old]
    before = token_make()
    settings.SECRETS_KEYS = [new, old]
    after = token_make()
    assert is_ours(before)
    settings.SECRETS_KEYS = [old]
    assert is_ours(after)
    settings.SECRETS_KEYS = [_key()]
    assert [is_ours(before), is_ours(after)] == [False, False]


def test_without_a_key_a_token_is_made_that_is_nobodys(settings: LazySettings) -> None:
    settings.SECRETS_KEYS = []
    made = token_make()
    assert (len(made), is_ours(made)) == (32, False)
