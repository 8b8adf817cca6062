"""install.sh and the files beside it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from portal_host.quotas import quota_lines
from portal_host.settings import Quota

from tests.hosts.clients import program, run
from tests.hosts.serving import key_pair, public_line

from .host import REPOSITORY, OpensshHost, numbers_of

DEPLOY = REPOSITORY / "deploy/openssh"
SAME = "All is as it should be; nothing was changed."


def tree(host: OpensshHost) -> dict[str, tuple[object, ...]]:
    root = host.machine.root
    places = ["etc", "usr/lib/sftp-portal", "srv/sftp-portal/keys", "var/lib/extrausers", "usr/sbin"]
    paths = [path for place in places for path in (root / place).rglob("*")]
    return {str(path): (*numbers_of(path), path.lstat().st_mtime_ns, path.lstat().st_ino) for path in paths}


def test_it_says_what_it_changed_and_a_second_run_changes_nothing(openssh_host: OpensshHost) -> None:
    first = openssh_host.installed.output
    assert "file /etc/ssh/sshd_config.d/sftp-portal.conf" in first
    assert "system user sftp-portal\n" in first
    assert "+loglevel VERBOSE" in first
    before = tree(openssh_host)
    again = openssh_host.install()
    assert again.code == 0
    assert SAME in again.output
    assert tree(openssh_host) == before


def test_a_dry_run_says_what_is_missing_and_changes_nothing(openssh_host: OpensshHost) -> None:
    module = openssh_host.machine.root / "usr/lib/sftp-portal/portal_host/judging.py"
    whole = module.read_bytes()
    module.write_bytes(whole + b"# changed by somebody\n")
    before = tree(openssh_host)
    told = openssh_host.install("--dry-run")
    assert told.code == 0
    assert "would: file /usr/lib/sftp-portal/portal_host/judging.py" in told.output
    assert tree(openssh_host) == before
    mended = openssh_host.install()
    assert "file /usr/lib/sftp-portal/portal_host/judging.py" in mended.output
    assert module.read_bytes() == whole


def test_what_an_older_version_left_behind_is_removed(openssh_host: OpensshHost) -> None:
    stale = openssh_host.machine.root / "usr/lib/sftp-portal/portal_host/older.py"
    stale.write_text("")
    assert "removed /usr/lib/sftp-portal/portal_host/older.py" in openssh_host.install().output
    assert not stale.exists()


def test_settings_and_keys_of_the_host_are_not_overwritten(openssh_host: OpensshHost) -> None:
    config = openssh_host.machine.root / "etc/sftp-portal"
    settings, keys = config / "helper.toml", config / "portal_keys"
    whole = settings.read_text()
    settings.write_text(whole + "# ours\n")
    before = keys.read_bytes()
    try:
        assert SAME in openssh_host.install().output
        assert settings.read_text().endswith("# ours\n")
        assert keys.read_bytes() == before
    finally:
        settings.write_text(whole)


def test_the_legacy_switch_goes_on_and_off(openssh_host: OpensshHost) -> None:
    def effective() -> str:
        return openssh_host.machine.run("/usr/sbin/sshd", "-T", "-C", "user=root,host=x,addr=192.0.2.1").output

    assert "diffie-hellman-group14-sha1" not in effective()
    assert "+" in openssh_host.install("--legacy", "on").output
    assert "diffie-hellman-group14-sha1" in effective()
    assert SAME in openssh_host.install().output
    openssh_host.install("--legacy", "off")
    assert "diffie-hellman-group14-sha1" not in effective()


LISTS = ("kexalgorithms", "ciphers", "macs", "hostkeyalgorithms", "pubkeyacceptedalgorithms")
OLD = {
    "kexalgorithms": "diffie-hellman-group14-sha256 diffie-hellman-group14-sha1 diffie-hellman-group-exchange-sha1",
    "ciphers": "aes256-cbc aes192-cbc aes128-cbc",
    "macs": "hmac-sha1",
    "hostkeyalgorithms": "ssh-rsa",
    "pubkeyacceptedalgorithms": "ssh-rsa",
}


def test_the_legacy_switch_lets_in_what_it_names_and_nothing_more(openssh_host: OpensshHost) -> None:
    def allowed() -> dict[str, set[str]]:
        told = openssh_host.machine.run("/usr/sbin/sshd", "-T", "-C", "user=root,host=x,addr=192.0.2.1").output
        lines = (line.partition(" ") for line in told.splitlines())
        return {name: set(value.split(",")) for name, _, value in lines if name in LISTS}

    strict = allowed()
    openssh_host.install("--legacy", "on")
    try:
        more = {name: names - strict[name] for name, names in allowed().items()}
        assert more == {name: set(names.split()) for name, names in OLD.items()}
        assert all(strict[name] <= names for name, names in allowed().items())
    finally:
        openssh_host.install("--legacy", "off")


def test_the_switch_for_times_goes_on_and_off_and_holds_for_districts_alone(
    openssh_host: OpensshHost, ours: str
) -> None:
    def refuses(user: str) -> bool:
        asked = ("/usr/sbin/sshd", "-T", "-C", f"user={user},host=x,addr=192.0.2.1")
        told = openssh_host.machine.run(*asked).output
        assert "chrootdirectory /srv/sftp-portal" in told
        assert "-P symlink,hardlink" in told
        return "fsetstat" in told

    assert not refuses(ours)
    openssh_host.install("--refuse-times", "on")
    try:
        assert refuses(ours)
        assert not refuses("sftp-portal")
        assert SAME in openssh_host.install().output
    finally:
        openssh_host.install("--refuse-times", "off")
    assert not refuses(ours)


def test_a_switch_that_is_on_is_brought_up_to_date(openssh_host: OpensshHost) -> None:
    switch = openssh_host.machine.root / "etc/ssh/sshd_config.d/00-sftp-portal-refuse-times.conf"
    switch.write_text("# of an older version\n")
    try:
        openssh_host.install()
        assert switch.read_text() == (DEPLOY / "sftp-portal-refuse-times.conf").read_text()
    finally:
        openssh_host.install("--refuse-times", "off")


def test_a_configuration_sshd_does_not_take_is_taken_back(openssh_host: OpensshHost) -> None:
    drop_ins = openssh_host.machine.root / "etc/ssh/sshd_config.d"
    ours = drop_ins / "sftp-portal.conf"
    ours.write_text("# an older version\n")
    (drop_ins / "99-theirs.conf").write_text("NoSuchKeyword yes\n")
    try:
        told = openssh_host.install()
        assert told.code == 1
        assert "NoSuchKeyword" in told.output
        assert ours.read_text() == "# an older version\n"
    finally:
        (drop_ins / "99-theirs.conf").unlink()
        openssh_host.install()


def test_a_match_block_that_takes_the_portals_account_over_is_told(openssh_host: OpensshHost) -> None:
    drop_ins = openssh_host.machine.root / "etc/ssh/sshd_config.d"
    (drop_ins / "sftp-portal.conf").unlink()
    (drop_ins / "10-theirs.conf").write_text("Match all\n    ChrootDirectory /var/empty\n")
    try:
        told = openssh_host.install()
        assert told.code == 1
        assert "Match block of yours" in told.output
        assert not (drop_ins / "sftp-portal.conf").exists()
    finally:
        (drop_ins / "10-theirs.conf").unlink()
        openssh_host.install()


def test_a_file_that_lets_anybody_write_to_key_files_is_told(openssh_host: OpensshHost) -> None:
    theirs = openssh_host.machine.root / "etc/ssh/sshd_config.d/10-theirs.conf"
    theirs.write_text("StrictModes no\n")
    try:
        told = openssh_host.install()
        assert told.code == 1
        assert "StrictModes no" in told.output
        assert SAME not in told.output
    finally:
        theirs.unlink()
    assert SAME in openssh_host.install().output


def test_a_file_that_overrules_what_the_portal_needs_of_sshd_is_told(openssh_host: OpensshHost) -> None:
    theirs = openssh_host.machine.root / "etc/ssh/sshd_config.d/10-theirs.conf"
    last = theirs.with_name("zz-theirs.conf")
    assert "another file" not in openssh_host.install().output
    theirs.write_text("LogLevel INFO\n")
    last.write_text("MaxStartups 10:30:100\n")
    try:
        told = openssh_host.install()
        assert told.code == 0
        assert 'says "loglevel INFO"' in told.output
        assert 'says "maxstartups 10:30:100"' in told.output
        theirs.write_text("LogLevel DEBUG1\n")
        assert "loglevel" not in openssh_host.install().output
    finally:
        theirs.unlink()
        last.unlink()
    assert "another file" not in openssh_host.install().output


def test_a_file_that_lets_in_some_people_only_is_told(openssh_host: OpensshHost) -> None:
    theirs = openssh_host.machine.root / "etc/ssh/sshd_config.d/10-theirs.conf"
    theirs.write_text("AllowGroups root ssh-users\nDenyUsers guest\n")
    try:
        told = openssh_host.install()
        assert told.code == 0
        assert '"allowgroups root"' in told.output
        assert '"denyusers guest"' in told.output
        assert "sftpacct-*" in told.output
    finally:
        theirs.unlink()
    assert "sftpacct-*" not in openssh_host.install().output


def test_sign_ins_of_others_keep_their_ways(openssh_host: OpensshHost) -> None:
    told = openssh_host.machine.run("/usr/sbin/sshd", "-T", "-C", "user=root,host=x,addr=192.0.2.1").output
    assert "authorizedkeyscommand none" in told
    assert "chrootdirectory none" in told
    assert "forcecommand none" in told


def test_a_private_key_is_refused_and_not_echoed(openssh_host: OpensshHost, tmp_path: Path) -> None:
    private = key_pair(tmp_path, "private")
    shutil.copy(private, openssh_host.machine.root / "tmp/given")
    told = openssh_host.install("--portal-key", "/tmp/given")
    assert told.code == 1
    assert "private key" in told.output
    assert private.read_text().splitlines()[1] not in told.output


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("garbage\n", "is no public key"),
        ("{key}\ngarbage\n", "is no public key"),
        ('from="192.0.2.7" {cut}\n', "is no public key"),
        ("# only a comment\n\n", "holds no key"),
        ("", "holds no key"),
    ],
)
def test_what_is_no_public_key_is_not_installed(
    openssh_host: OpensshHost, tmp_path: Path, content: str, told: str
) -> None:
    installed = openssh_host.machine.root / "etc/sftp-portal/portal_keys"
    before = installed.read_bytes()
    key = public_line(key_pair(tmp_path, "portal"))
    (openssh_host.machine.root / "tmp/given").write_text(content.format(key=key, cut=key[:40]))
    done = openssh_host.install("--portal-key", "/tmp/given")
    assert done.code == 1
    assert told in done.output
    assert installed.read_bytes() == before


def test_several_keys_with_options_and_comments_are_installed(openssh_host: OpensshHost, tmp_path: Path) -> None:
    installed = openssh_host.machine.root / "etc/sftp-portal/portal_keys"
    before = installed.read_text()
    key = public_line(key_pair(tmp_path, "portal"))
    given = openssh_host.machine.root / "tmp/given"
    given.write_text(f'# the portal\n\n{before}from="192.0.2.7,192.0.2.8" {key}\n')
    try:
        assert openssh_host.install("--portal-key", "/tmp/given").code == 0
        assert installed.read_text() == given.read_text()
    finally:
        given.write_text(before)
        openssh_host.install("--portal-key", "/tmp/given")


@pytest.mark.parametrize(
    "path",
    [
        "usr/lib/sftp-portal/portal_host/claims.py",
        "usr/lib/sftp-portal/keys-of",
        "etc/ssh/sshd_config.d/sftp-portal.conf",
        "etc/sysctl.d/60-sftp-portal.conf",
    ],
)
def test_a_file_that_cannot_be_written_stops_it(openssh_host: OpensshHost, path: str) -> None:
    """A directory in the way of its temporary name, as a full disk would be."""
    there = openssh_host.machine.root / path
    old, blocked = there.read_bytes() + b"# of an older version\n", there.with_name(f"{there.name}.sftp-portal-new")
    there.write_bytes(old)
    blocked.mkdir()
    try:
        told = openssh_host.install()
        assert told.code == 1
        assert f"/{path} could not be written" in told.output
        assert there.read_bytes() == old
    finally:
        blocked.rmdir()
        openssh_host.install()
    assert there.read_bytes() != old


def test_switches_that_cannot_all_be_written_are_taken_back(openssh_host: OpensshHost) -> None:
    drop_ins = openssh_host.machine.root / "etc/ssh/sshd_config.d"
    blocked = drop_ins / "00-sftp-portal-refuse-times.conf.sftp-portal-new"
    blocked.mkdir()
    try:
        assert openssh_host.install("--legacy", "on", "--refuse-times", "on").code == 1
        assert sorted(path.name for path in drop_ins.glob("*sftp-portal*.conf")) == ["sftp-portal.conf"]
    finally:
        blocked.rmdir()
    assert SAME in openssh_host.install().output


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """What lies on a new host after step 1 of the README: its commands as they stand there, in other directories."""
    lines = (DEPLOY / "README.md").read_text(encoding="utf-8").splitlines()
    (pack,) = (line.split() for line in lines if line.startswith("       tar czf "))
    (unpack,) = (line.partition("&& ")[2].split() for line in lines if "tar xzf " in line)
    archive, there = tmp_path / "portal-host.tar.gz", tmp_path / "opt"
    there.mkdir()
    new = {"portal-host.tar.gz": str(archive), "/opt/portal-host": str(there)}
    for words in (pack, unpack):
        assert set(words) & set(new)
        done = subprocess.run([new.get(word, word) for word in words], cwd=REPOSITORY, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    return there


def test_what_the_readme_says_to_bring_is_all_that_is_needed(brought: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    done = run(["sh", str(brought / "deploy/openssh/install.sh"), "--root", str(root)])
    assert done.code == 0, done.output
    library = f"import sys; sys.path.insert(0, '{root}/usr/lib/sftp-portal')"
    code = f"{library}\nimport portal_host.__main__, portal_host.shipping"
    imported = run([sys.executable, "-ISB", "-c", code])
    assert imported.code == 0, imported.output


@pytest.mark.parametrize(
    "missing",
    [
        "hosts/__init__.py",
        "hosts/files.py",
        "hosts/keyfiles.py",
        "hosts/local.py",
        "hosts/core",
        "deploy/openssh/portal_host",
        "deploy/openssh/portal-log",
        "deploy/openssh/sftp-portal-log.service",
        "deploy/openssh/sftp-portal-legacy.conf",
    ],
)
@pytest.mark.parametrize("option", ["--dry-run", "--no-start"])
def test_it_says_what_was_not_brought_and_changes_nothing(
    brought: Path, tmp_path: Path, missing: str, option: str
) -> None:
    (brought / missing).rename(tmp_path / "missing")
    root = tmp_path / "root"
    root.mkdir()
    done = run(["sh", str(brought / "deploy/openssh/install.sh"), "--root", str(root), option])
    assert done.code == 1
    assert missing.removeprefix("deploy/openssh/") in done.output
    assert "README.md, step 1" in done.output
    assert list(root.iterdir()) == []


def test_with_a_root_it_only_lays_out_the_files(tmp_path: Path) -> None:
    done = run(["sh", str(DEPLOY / "install.sh"), "--root", str(tmp_path)])
    assert done.code == 0, done.output
    assert (tmp_path / "usr/lib/sftp-portal/portal_host/claims.py").exists()
    assert (tmp_path / "etc/ssh/sshd_config.d/sftp-portal.conf").exists()
    assert (tmp_path / "srv/sftp-portal/homes").is_dir()
    assert SAME in run(["sh", str(DEPLOY / "install.sh"), "--root", str(tmp_path)]).output


@pytest.mark.parametrize("option", ["--nonsense", "--root", "--legacy=on"])
def test_an_option_it_does_not_know_is_refused(option: str) -> None:
    assert run(["sh", str(DEPLOY / "install.sh"), option]).code != 0


def test_the_units_are_what_systemd_understands(openssh_host: OpensshHost) -> None:
    units = sorted(path.name for path in DEPLOY.iterdir() if path.suffix in (".service", ".timer"))
    assert len(units) == 4
    program("systemd-analyze")
    paths = [f"/etc/systemd/system/{unit}" for unit in units]
    told = openssh_host.machine.run("systemd-analyze", "verify", "--man=no", *paths)
    ours = [line for line in told.output.splitlines() if "sftp-portal" in line]
    assert not ours, told.output


def test_the_program_needs_nothing_but_pythons_own_library(openssh_host: OpensshHost) -> None:
    """Isolated, so that no package of the machine's own can help."""
    code = (
        "import sys; sys.path.insert(0, '/usr/lib/sftp-portal')\n"
        "import portal_host.__main__\n"
        "outside = [m for m in sys.modules.values() if 'packages' in (getattr(m, '__file__', '') or '')]\n"
        "sys.exit(bool(outside))"
    )
    done = openssh_host.machine.run("/usr/bin/python3", "-ISB", "-c", code)
    assert done.code == 0, done.output


def test_the_helper_is_roots_alone_to_change(openssh_host: OpensshHost) -> None:
    library = openssh_host.machine.root / "usr/lib/sftp-portal"
    for path in [library, *library.rglob("*")]:
        owner, group, mode = numbers_of(path)
        assert (owner, group) == (0, 0)
        assert int(mode, 8) & 0o022 == 0


def test_nobody_else_can_take_the_helpers_lock(openssh_host: OpensshHost) -> None:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    taken = openssh_host.machine.run(*nobody, "flock", "--nonblock", "/var/lib/sftp-portal", "echo", "taken")
    assert taken.code != 0
    assert "Permission denied" in taken.output


def test_quotas_are_set_by_number_and_only_where_some_are_wanted(openssh_host: OpensshHost) -> None:
    assert quota_lines([66002, 66001], Quota(mebibytes=2, files=10)) == (
        "66001 2048 2048 10 10\n66002 2048 2048 10 10\n"
    )
    told = openssh_host.machine.run("/usr/sbin/portal-host", "quotas")
    assert told.code == 0, told.output
    assert "No quota is set" in told.output
