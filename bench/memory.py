"""Run a command and note its memory: `python -m bench.memory FILE COMMAND…`.

A process inherits the peak of the one that started it, up to the moment when it becomes the command
(getrusage(2)). A small process in between keeps a large parent out of the figure.
"""

import resource
import signal
import subprocess
import sys
from pathlib import Path


def main(peak: Path, *command: str) -> int:
    """Run the command; a request to end is passed on.

    Returns its exit status, or 128 plus the signal that ended it. Effect: the file holds the most
    memory, in MB, that the command or any process it waited for took.
    """
    with subprocess.Popen(command) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        status = process.wait()
    peak.write_text(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024))
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
