"""install.sh and the files beside it."""

import shutil
from pathlib import Path

import pytest
from portal_host.quotas import quota_lines
from portal_host.settings import Quota

from tests.hosts.clients import program, run
from tests.hosts.serving import key_pair

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


def test_quotas_are_set_by_number_and_only_where_some_are_wanted(openssh_host: OpensshHost) -> None:
    assert quota_lines([66002, 66001], Quota(mebibytes=2, files=10)) == (
        "66001 2048 2048 10 10\n66002 2048 2048 10 10\n"
    )
    told = openssh_host.machine.run("/usr/sbin/portal-host", "quotas")
    assert told.code == 0, told.output
    assert "No quota is set" in told.output
