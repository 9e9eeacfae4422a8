#!/usr/bin/env python3
"""Runs Syncline's commands. The first start needs only Python and pip: it makes `.venv`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - the sentence is for those who have an older one
        sys.exit(f"Syncline needs Python 3.11 or newer, this is {sys.version.split()[0]}")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from portal.embedded import Unavailable, command_line

    try:
        command_line.run(ROOT, sys.argv)
    except Unavailable as trouble:
        sys.exit(str(trouble))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
