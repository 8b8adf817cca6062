"""What stands in the recipes; that they work is tried with the programs themselves in tests/hosts/test_recipes.py."""

import subprocess
from pathlib import Path

import pytest

from keys.core.recipes import NotPlain, Reach, recipes

from .samples import words

ED25519 = f"ssh-ed25519 {words('ed25519')['base64']}"


def _reach(**other: object) -> Reach:
    told = {"address": "upload.example.com", "port": 2222, "username": "smithville.k12.oh.us", "host_key": ED25519}
    return Reach(**{**told, **other})


def _said(reach: Reach, slug: str) -> str:
    (recipe,) = (one for one in recipes(reach) if one.slug == slug)
    parts = [recipe.lead, *(f"{one.field}: {one.value}" for one in recipe.values), *recipe.steps, *recipe.notes]
    return "\n".join([*parts, *(one.text for one in recipe.texts)])


@pytest.mark.parametrize("recipe", recipes(_reach()), ids=lambda one: one.slug)
def test_every_recipe_has_the_accounts_own_values_and_no_gap(recipe) -> None:
    said = _said(_reach(), recipe.slug)
    for value in ("upload.example.com", "2222", "smithville.k12.oh.us"):
        assert value in said
    assert "$$" not in said
    assert not any(f"${name}" in said for name in ("address", "port", "user", "alias", "key", "ppk", "digest", "bits"))


def test_no_two_recipes_have_one_place_in_the_address() -> None:
    slugs = [one.slug for one in recipes(_reach())]
    assert len(slugs) == len(set(slugs)) == 10


@pytest.mark.parametrize(
    "text",
    ["", "-oProxyCommand=x", "a b", 'a"b', "a'b", "a$b", "a`b", "a;b", "a\nb", "a%b", "a&b", "a|b", "a\\b", "a@b"],
)
@pytest.mark.parametrize("field", ["address", "username"])
def test_what_a_shell_would_read_as_its_own_makes_no_script(field: str, text: str) -> None:
    with pytest.raises(NotPlain):
        _reach(**{field: text})


@pytest.mark.parametrize(("port", "name"), [(22, "upload.example.com"), (2222, "[upload.example.com]:2222")])
def test_ssh_keygen_finds_the_line_by_the_name_a_client_looks_for(port: int, name: str, tmp_path: Path) -> None:
    """sshd(8): with a port that is not 22 the name stands in brackets."""
    known = tmp_path / "known_hosts"
    known.write_text(f"{_reach(port=port).known_hosts}\n", encoding="ascii")
    done = subprocess.run(["ssh-keygen", "-F", name, "-f", str(known)], capture_output=True, text=True, check=False)
    assert (done.returncode, ED25519 in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("name", "told"),
    [("ed25519", "ssh-ed25519 255 "), ("ecdsa384", "ecdsa-sha2-nistp384 384 "), ("rsa3072", "ssh-rsa 3072 ")],
)
def test_winscp_is_told_type_length_and_digest(name: str, told: str, tmp_path: Path) -> None:
    key = f"{words(name)['type']} {words(name)['base64']}"
    (tmp_path / "key.pub").write_text(f"{key}\n", encoding="ascii")
    shown = subprocess.run(["ssh-keygen", "-lf", tmp_path / "key.pub"], capture_output=True, text=True, check=True)
    digest = shown.stdout.split()[1].removeprefix("SHA256:")
    assert f'-hostkey="{told}{digest}"' in _said(_reach(host_key=key), "winscp")


def test_an_address_of_numbers_stands_in_brackets_where_a_url_wants_it() -> None:
    said = _said(_reach(address="2001:db8::7"), "curl")
    assert "sftp://smithville.k12.oh.us@[2001:db8::7]:2222/" in said
