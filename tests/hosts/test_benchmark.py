"""The benchmark of propagation on a machine that has not all it compares with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# In a process of its own: the benchmark makes a portal of its own when it is imported.
SCRIPT = """
import argparse, shutil
from benchmarks import propagation as it

try:
    methods = it.Methods(None, None, argparse.Namespace(no_slow=False), {})
    print(*(block.__name__ for block in methods.blocks()))
    rows = ["the portal: " + row for row in (
        "first push with read-back", "first push alone", "every file read and compared", "nothing changed", "50 changed"
    )]
    if it.has_rsync():
        rows += ["rsync -a --fsync: first push", "rsync -anc: compared", "rsync -a: nothing changed"]
    it.told("tmpfs, 0 ms", it.Column({row: [1.0] for row in rows}))
finally:
    shutil.rmtree(it.DATA)
"""


@pytest.mark.parametrize("has_rsync", [True, False])
def test_without_rsync_its_rows_are_left_out_and_the_rest_is_measured(tmp_path: Path, has_rsync: bool) -> None:
    if has_rsync:
        (tmp_path / "rsync").symlink_to("/bin/true")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    blocks, *told = done.stdout.splitlines()
    assert ("theirs" in blocks.split()) is has_rsync
    assert {"ours_with_read_back", "ours", "one_by_one"} <= set(blocks.split())
    assert ("  rsync is not installed: row left out" in told) is not has_rsync
    assert any("against rsync" in line for line in told) is has_rsync
    assert any("every file read, against nothing changed" in line for line in told)
