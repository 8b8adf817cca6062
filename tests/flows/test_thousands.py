"""No page asks the database more often where there are more districts: the benchmark of pages counts, on PostgreSQL."""

import subprocess
import sys

from .stack import ROOT


def test_no_page_takes_more_queries_where_there_are_more_districts() -> None:
    many = ["--districts", "3000", "--epochs", "60000"]
    command = [sys.executable, "benchmarks/pages.py", "--queries", *many]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=600)
    told = done.stdout.decode()
    assert done.returncode == 0, told + done.stderr.decode()
    pages = [line for line in told.splitlines() if line.startswith(("district /", "staff /"))]
    assert len(pages) > 30
    assert max(int(line.split()[-1]) for line in pages) <= 25
