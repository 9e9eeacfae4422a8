"""Every measure of bench/ runs and prints its table; the figures are not checked."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

from bench.__main__ import MEASURES
from tests.support.processes import ROOT

pytestmark = pytest.mark.slow

# The beginning of the table that each measure prints.
TABLE_HEADS = {
    "lists": "| look-up | p50 ms |",
    "ring": "| step | plain SQL | Syncline | ratio |",
    "backlog": "| step | first | later | ratio |",
    "growth": "| customers | upload | convert | download |",
    "orm": "| customers | bulk ORM | Syncline |",
    "sqlite": "| customers | PostgreSQL | SQLite |",
    "trickle": "| measure | goal | median |",
    "day": "| step | first day |",
    "sales": "| step | empty HQ |",
    "idle": "| channels | of them SQLite | workers |",
    "schedules": "| 8 channels, 2 workers | starts | starts due |",
    "burst": "| channels, of them SQLite |",
    "fleet": "| 8 channels, 2 workers | outcome |",
    "stores": "| measure | 6 databases |",
}


@pytest.mark.finding(id="A12")
@pytest.mark.timeout(600)
def test_every_measure_runs_with_tiny_numbers(django_db_setup, tmp_path):
    dsn = f"postgresql://syncline@/postgres?host={settings.EMBEDDED.sockets}"
    environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}

    process = subprocess.run(
        [sys.executable, "-m", "bench", "all", "--tiny", "--dsn", dsn],
        cwd=ROOT,
        env=environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    assert TABLE_HEADS.keys() == MEASURES.keys()
    assert [name for name, head in TABLE_HEADS.items() if head not in process.stdout] == []
