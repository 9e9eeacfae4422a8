"""A function reads and writes only the work tables that it was given."""

import ast
import re
from pathlib import Path

import pytest
from django.db import transaction
from psycopg2 import sql

from stores.hqdb.sql import fetch, run_sql
from stores.hqdb.work_table import empty_table, query_table, session_table

ROOT = Path(__file__).parents[2]
MAKERS = ("empty_table", "query_table", "session_table")
# Rooms whose tables are all handed over.
ROOMS = [
    "pipeline/fence",
    "pipeline/upload",
    "pipeline/convert",
    "pipeline/sales",
    "pipeline/corrections",
    "pipeline/integrity",
    "pipeline/number_journal.py",
    "pipeline/fields_to_correct.py",
]


def files(room: str) -> list[Path]:
    place = ROOT / "stores" / room
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def statements(room: str) -> list[tuple[Path, str]]:
    """The texts of a room, in its modules and in the files beside them."""
    in_modules = [(path, text) for path in files(room) for text in texts(path)]
    in_files = [(path, path.read_text()) for path in (ROOT / "stores" / room).rglob("*.sql")]
    return in_modules + in_files


def made_in(path: Path) -> set[str]:
    """The names of the work tables that a file makes."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id in MAKERS
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }


ALL = {name for path in files(".") for name in made_in(path)}


def texts(path: Path) -> list[str]:
    """The texts of a file that are no docstrings."""
    tree = ast.parse(path.read_text())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def named_in(text: str) -> set[str]:
    """Work tables that a statement names instead of leaving a hole for them."""
    found = re.findall(r"\b(?:FROM|JOIN|INTO|UPDATE|USING|TABLE|ANALYZE|TRUNCATE)\s+(\w+)", text)
    return set(found) & ALL


@pytest.mark.parametrize("room", ROOMS)
def test_every_work_table_is_handed_over(room):
    named = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in statements(room)
        for name in named_in(text)
    }
    assert named == set()


@pytest.mark.parametrize("room", ROOMS)
def test_every_work_table_is_made_by_a_with(room):
    made = [
        str(path.relative_to(ROOT))
        for path, text in statements(room)
        if re.search(r"CREATE\s+TEMP", text)
    ]
    assert made == []


def test_a_table_of_a_query_knows_its_rows_and_is_gone_afterwards(hq):
    with transaction.atomic():
        with query_table("numbers", "SELECT generate_series(1, %s) AS n", [3]) as numbers:
            run_sql(sql.SQL("DELETE FROM {} WHERE n = 2").format(numbers.identifier))
            assert (numbers.rows, numbers.count()) == (3, 2)
            numbers.empty()
            assert numbers.count() == 0
        assert not exists("numbers")


def test_an_error_leaves_no_table_behind(hq):
    def fail() -> None:
        with transaction.atomic(), empty_table("empty", "n integer"):
            assert exists("empty")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not exists("empty")


def test_a_table_of_a_session_lasts_over_its_transactions(hq):
    def fail() -> None:
        with session_table("lasting", "n integer") as lasting:
            with transaction.atomic():
                run_sql(sql.SQL("INSERT INTO {} VALUES (1)").format(lasting.identifier))
            assert lasting.count() == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not exists("lasting")


def exists(table: str) -> bool:
    return bool(fetch("SELECT to_regclass(%s)", [f"pg_temp.{table}"])[0][0])
