"""A process that has loaded Django and forks another one for each task, which dies when told to.

Starting Django takes longer than a run; what is killed is as real as a `manage.py run_job`, minus
that start. Reads lines such as `pipeline` or `pipeline upload:after_hq_commit kill`: a task, and
the failpoint at which it dies and how. Answers each with the process id of the fork, and a line
with how it ended. Chunks are small, so that a few customers are many commits and a kill can fall
between any two.
"""

import gc
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

SIZES = "stores.pipeline.chunk_sizes"
CHUNK = 250


class Crash(Exception):
    """What a failpoint raises that does not kill its process."""


def shrink_chunks(size: int) -> None:
    """Load the module with the sizes first: the steps take them over when they are imported."""
    path = Path(__file__).resolve().parents[2].joinpath(*SIZES.split(".")).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(SIZES, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[SIZES] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("EVENTS_PER_CHUNK", "CUSTOMERS_PER_CHUNK"):
        assert hasattr(module, name), name
        setattr(module, name, size)


def arm(point: str, how: str) -> None:
    """Let this process die at the failpoint: with SIGKILL, or by an exception, once."""
    from stores import failpoints

    def raise_once() -> None:
        del failpoints.actions[point]
        raise Crash

    failpoints.actions[point] = {
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "raise": raise_once,
    }[how]


def load_tasks() -> dict[str, Callable[[], object]]:
    """What a fork may be asked for: a job by its code or number, or one of three other tasks.

    All that they import is loaded here, once for all forks.
    """
    from stores.jobs.catalog import JOBS
    from stores.jobs.inline import run_inline
    from stores.jobs.stalled import recover_lost_steps
    from stores.jobs.start import start_job

    return {name: partial(run_inline, name) for name in JOBS} | {
        "recover": recover_lost_steps,
        "carry_on": carry_on,
        "start": lambda: start_job(JOBS["pipeline"]),
    }


def carry_on() -> None:
    """Do the first steps of a pipeline as workers would, and enqueue what follows."""
    from stores.jobs.catalog import JOBS
    from stores.jobs.run import execute
    from stores.jobs.stages import waiting_steps
    from stores.jobs.start import create_run

    for step in waiting_steps(create_run(JOBS["pipeline"]).run.pk):
        execute(str(step))


def carry_out(task: Callable[[], object], crash: Sequence[str]) -> None:
    """Do the task and leave what it answered in a file."""
    if crash:
        arm(*crash)
    found = task()
    Path(os.environ["KILLABLE_ANSWER"]).write_text(json.dumps(found, default=str))


def main() -> None:
    import django

    shrink_chunks(int(os.environ.get("KILLABLE_CHUNK", CHUNK)))
    django.setup()
    tasks = load_tasks()
    gc.freeze()
    for line in sys.stdin:
        task, *crash = line.split()
        if pid := os.fork():
            print(pid, flush=True)  # noqa: T201 - this is how it answers
            _, status = os.waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201
        else:
            try:
                carry_out(tasks[task], crash)
            except Crash:
                os._exit(3)
            os._exit(0)


if __name__ == "__main__":
    main()
