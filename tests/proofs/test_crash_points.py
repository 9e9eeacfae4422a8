"""Wherever a process dies between two commits, the ring goes on as if nothing had happened."""

import ast
import re
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from stores.failpoints import FAILPOINTS, PIPELINE_FAILPOINTS
from stores.jobs.stalled import recover_stalled_runs
from stores.models import JobRun, Quarantine
from stores.models.run import RunStatus
from stores.pipeline.integrity.verify import verify
from tests.proofs.chaos.checker import Checker
from tests.proofs.chaos.places import Place
from tests.support.make import make_customer, make_event, run
from tests.support.processes import ROOT, forking, hq_url

pytestmark = pytest.mark.slow

INTEGRITY = ROOT / "stores/pipeline/integrity"
# It moves rows on, unlike checks; and reconcile looks anew each time and owes again: a death only
# leaves that to the next one.
RECOVER = INTEGRITY / "recover.py"
# A chunk of nothing but these says what happened or counts it, and moves no row on.
ONLY_TELLS = re.compile(r"(?:.*\.)?(?:report_\w+|count_\w+|add|Incident\.objects\.report)")
CHUNK = 2
RAISED = 3
# Where the first word of a name is called; everything else is called in stores/pipeline/WORD/.
HOMES = {
    "run": "stores/jobs",
    "step": "stores/jobs",
    "upload": ("stores/pipeline/upload/", "stores/channeldb/exchange/"),
    "download": ("stores/pipeline/download/", "stores/channeldb/exchange/"),
    "journal": "stores/pipeline/number_journal.py",
    "validate": "stores/pipeline/sales/validate.py",
    "orders": "stores/pipeline/sales/orders.py",
    "statements": "stores/pipeline/sales/statements.py",
}
# Points that a pipeline at a prompt does not come by: what must die before, and the task that does.
BESIDES = {
    "run:before_enqueue": ("", "ring"),
    "run:after_lost": ("pipeline run:after_claim kill", "start"),
    "run:before_takeover": ("pipeline run:after_claim kill", "heal"),
    "step:before_takeover": ("", "replace"),
    "step:after_takeover": ("", "replace"),
}


def calls() -> Iterator[tuple[str, str]]:
    """Every crash point that is called, with the file."""
    for path in sorted((ROOT / "stores").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "failpoint":
                yield ast.literal_eval(node.args[0]), str(path.relative_to(ROOT))


def test_each_named_point_is_called_in_the_part_it_names_and_no_other_is():
    called = list(calls())

    assert sorted({name for name, _ in called}) == sorted(FAILPOINTS)
    for name, path in called:
        word = name.partition(":")[0]
        assert path.startswith(HOMES.get(word, f"stores/pipeline/{word}")), (name, path)


def test_a_point_is_called_once_for_each_engine():
    many = Counter(name for name, _ in calls())

    assert {name for name, times in many.items() if times > 1} == {
        "upload:before_acknowledge",
        "download:before_channel_commit",
    }


class WithoutDryRuns(ast.NodeTransformer):
    """Leaves out what only a dry run does: all of it is rolled back."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        return node.orelse if "is_dry" in ast.unparse(node.test) else self.generic_visit(node)


def chunks_in(function: ast.FunctionDef) -> Iterator[ast.With]:
    """The transactions of a step that a function commits."""
    for node in ast.walk(function):
        if isinstance(node, ast.With) and any(
            ast.unparse(item.context_expr).partition("(")[0].endswith(".chunk")
            for item in node.items
        ):
            yield node


def only_tells(chunk: ast.With) -> bool:
    return all(
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Call)
        and ONLY_TELLS.fullmatch(ast.unparse(line.value.func))
        for line in chunk.body
    )


def functions_that_commit() -> Iterator[tuple[str, str]]:
    """Name and text of every function with a chunk that moves rows on; checks move none."""
    for path in sorted({*(ROOT / "stores").rglob("*.py")} - {*INTEGRITY.rglob("*.py")} | {RECOVER}):
        for node in ast.walk(WithoutDryRuns().visit(ast.parse(path.read_text()))):
            if isinstance(node, ast.FunctionDef) and not all(map(only_tells, chunks_in(node))):
                yield f"{path.relative_to(ROOT)}: {node.name}", ast.unparse(node)


def test_no_chunk_is_committed_without_a_named_point():
    found = dict(functions_that_commit())

    assert "stores/pipeline/sales/statements.py: remove_refused" in found
    assert [name for name, text in found.items() if "failpoint(" not in text] == []


@pytest.fixture
def ring(houston, popup):
    """A shop on each engine, each with customers at home, new ones, and edits of the old ones."""
    for shop in (houston, popup):
        known = [make_customer(shop, name) for name in ("Ann", "Bo", "Cy")]
        for guid in known:
            make_event("address", shop, async_account=guid)
    assert run("pipeline")["outcome"] == "succeeded"
    for shop, guid in ((houston, known[0]), (popup, known[1])):
        for number in range(5):
            new = make_customer(shop, f"New {number}")
            make_event("contact", shop, async_account=new, locator=f"{number}@example.com")
        make_event("customer", shop, operation="update", async_account=guid, first_name="Eva")
    return Checker(hq_url(), [Place.of(shop) for shop in (houston, popup)])


@pytest.fixture(scope="module")
def forks(django_db_setup, tmp_path_factory):
    """The process that forks one task after the other."""
    answer = tmp_path_factory.mktemp("crash") / "answer.json"
    with forking(answer, KILLABLE_CHUNK=str(CHUNK)) as ask:
        yield ask


def drain(forks) -> None:
    """Start again until there is nothing to do, as the schedule would."""
    recover_stalled_runs()
    for _ in range(4):
        assert forks("pipeline") == 0
        latest = JobRun.objects.order_by("-created_at").first()
        if latest.status == RunStatus.NOTHING_TO_DO:
            return
    raise AssertionError(f"not at rest: {latest.message}")


@pytest.mark.parametrize("how", ["kill", "raise"])
@pytest.mark.parametrize("point", PIPELINE_FAILPOINTS)
def test_dying_there_loses_and_doubles_nothing(ring, forks, point, how):
    before, task = BESIDES.get(point, ("", "pipeline"))
    if before:
        assert forks(before) == -signal.SIGKILL

    died = forks(f"{task} {point} {how}")
    assert died in ((-signal.SIGKILL,) if how == "kill" else (0, RAISED)), "nothing came by here"
    assert ring.safety() == []

    drain(forks)
    assert ring.convergence() == []
    assert not Quarantine.objects.exists()
    assert [check for check in verify() if not check.ok] == []
    at_rest = ring.rest()
    assert forks("pipeline") == 0
    assert ring.rest() == at_rest
