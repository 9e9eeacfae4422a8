"""Let tills write while everything breaks, then judge: `python -m tests.proofs.chaos --seed 7`."""

import argparse
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import django

from portal.embedded import postgres, valkey
from portal.embedded.paths import Paths

# Sets the data folder, and so must come before the settings are read.
from tests.support import servers


def main() -> int:
    options = arguments()
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    say(f"chaos --seed {seed} --seconds {options.seconds:g}")
    with served() as folder:
        from tests.proofs.chaos.story import run_chaos

        report = run_chaos(seed, options.seconds, folder, sets_back=options.set_back)
        if not report.is_clean and options.keep:
            say(f"kept for a look: {folder}")
            input("Enter ends it. ")
    say(json.dumps(asdict(report), indent=None if options.json else 2))
    return 0 if report.is_clean else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="the same choices again; not the same moments")
    parser.add_argument("--seconds", type=float, default=60, help="how long things break")
    parser.add_argument(
        "--set-back",
        action="store_true",
        help="also restore shops and headquarters, kill the server, and put clocks wrong",
    )
    parser.add_argument("--json", action="store_true", help="the report in one line")
    parser.add_argument("--keep", action="store_true", help="after a breach wait before cleaning")
    return parser.parse_args()


@contextmanager
def served() -> Iterator[Path]:
    """Servers of our own, as a test process has them; all is removed at the end."""
    paths = Paths(servers.FOLDER)
    try:
        postgres.start(paths, durable=False)
        valkey.start(paths)
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
        django.setup()
        yield servers.FOLDER
    finally:
        servers.remove(servers.FOLDER)


def say(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
