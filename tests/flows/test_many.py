"""Two hundred districts: keys to the host, one night's uploads, nobody mixed up."""

from pathlib import Path

from tests.hosts.clients import sftp

from .stack import Portal, wait_for
from .uploads import epoch_in, students, upload

COUNT = 200
UPLOADING = 12


def test_two_hundred_accounts_go_live_and_upload(portal: Portal, key_pair: Path, tmp_path: Path) -> None:
    public = key_pair.with_suffix(".pub").read_text()
    slugs = [
        portal.inside("district", name=f"Valley {number}", domain=f"valley{number}.k12.oh.us")
        for number in range(COUNT)
    ]
    for slug in slugs:
        portal.inside("save_keys", slug=slug, text=public)
    wait_for("all are on the host", lambda: set(portal.inside("key_files")) == {"on_host"}, 120)
    files = portal.data_dir / "sftp" / "keys"
    lines = {(files / f"valley{number}.k12.oh.us").read_text().splitlines()[-1] for number in range(COUNT)}
    assert lines == {public.strip()}
    for number in range(UPLOADING):
        door = portal.door(f"valley{number}.k12.oh.us", key_pair)
        upload(door, tmp_path / str(number), "20261121-020000", students(size=30 + number))
    for number in range(UPLOADING):
        assert epoch_in(portal, slugs[number], "20261121-020000", seconds=120)["state"] == "loaded"
        assert len(portal.inside("snapshot", slug=slugs[number])["records"]) == 30 + number
    assert portal.inside("epochs", slug=slugs[UPLOADING]) == []


def test_a_full_run_finds_all_right_and_mends_what_was_changed_on_the_host(portal: Portal, key_pair: Path) -> None:
    spoilt = portal.data_dir / "sftp" / "keys" / "valley7.k12.oh.us"
    before = spoilt.read_bytes()
    spoilt.write_bytes(b"")
    assert sftp(portal.door("valley7.k12.oh.us", key_pair), "ls /").code != 0
    done = len(_full_runs(portal))
    portal.inside("run_now")
    wait_for("the run is done", lambda: len(_full_runs(portal)) > done, 120)
    # The hourly run may come in between, at the full hour; then it is the one that mends.
    new = _full_runs(portal)[: len(_full_runs(portal)) - done]
    assert all(run["total"] >= COUNT for run in new)
    assert sum(run["written"] for run in new) == 1
    assert sum(run["unchanged"] for run in new) == sum(run["total"] for run in new) - 1
    assert spoilt.read_bytes() == before
    assert sftp(portal.door("valley7.k12.oh.us", key_pair), "ls /").code == 0


def _full_runs(portal: Portal) -> list[dict[str, object]]:
    """The runs over all accounts that are done, newest first."""
    return [run for run in portal.inside("runs") if run["cause"] != "saved" and run["state"] == "done"]
