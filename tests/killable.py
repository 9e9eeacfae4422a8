"""A process that has loaded Django and forks another one for each pipeline, to be killed.

Starting Django takes longer than a run; what is killed is as real as a `manage.py run_job`, minus
that start. Answers each line on stdin with the process id of the fork, and a line with how it
ended. Chunks are small, so that 5,000 customers are many commits and a kill can fall between any
two.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

BULK = "stores.pipeline.bulk"
CHUNK = 250


def shrink_chunks() -> None:
    """Load the module with the sizes first: the steps take them over when they are imported."""
    path = Path(__file__).resolve().parent.parent.joinpath(*BULK.split(".")).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(BULK, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[BULK] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.EVENTS = module.CUSTOMERS = CHUNK


def main() -> None:
    import django

    shrink_chunks()
    django.setup()
    from stores import jobs

    for line in sys.stdin:
        if pid := os.fork():
            print(pid, flush=True)  # noqa: T201 - this is how it answers
            _, status = os.waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201
        else:
            found = jobs.run_here(line.strip())
            Path(os.environ["KILLABLE_ANSWER"]).write_text(json.dumps(found))
            os._exit(0)


if __name__ == "__main__":
    main()
