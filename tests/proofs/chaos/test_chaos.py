"""Sixty seconds of trouble; `python -m tests.proofs.chaos` does it longer, or by a seed."""

import json
import os
import secrets
import subprocess
import sys

import pytest

from tests.support.processes import ROOT

pytestmark = pytest.mark.slow

SECONDS = 60


@pytest.mark.fault("F-01", "F-02", "F-03", "F-11", "F-14", "F-20", "F-26", "F-37", "F-38")
@pytest.mark.timeout(540)
def test_after_a_minute_of_kills_and_cuts_nothing_is_lost_and_nothing_doubled():
    seed = os.environ.get("CHAOS_SEED") or str(secrets.randbelow(10**6))
    # Servers of its own, so that nothing else can be hit.
    own = {name: value for name, value in os.environ.items() if name != "SYNCLINE_DATA_DIR"}
    words = ["-m", "tests.proofs.chaos", "--json", "--seed", seed, "--seconds", str(SECONDS)]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=own, capture_output=True, text=True, check=False
    )
    print(done.stdout, done.stderr)  # noqa: T201 - the seed, should it fail
    report = json.loads(done.stdout.splitlines()[-1])

    assert report["breaches"] == []
    assert (report["lost"], report["doubled"]) == (0, 0)
    assert report["convergence_s"] <= 300
    assert report["looks"] >= 5
    assert report["confirmed"] >= 200
    assert report["quarantined"] < 0.1 * report["confirmed"]
    assert report["posted"] >= 50
    assert report["cents"] > 0
    assert report["done"]["killed"] >= 3
    assert report["done"]["killed while a package was made"] >= 1
    assert report["done"]["killed while a package was applied"] >= 1
    assert report["done"]["lines of the second journal"] > 0
    assert report["done"]["merged events"] >= 20
    assert report["done"]["events that could not be merged"] == 0
    assert report["cuts"] >= 3
    assert done.returncode == 0
