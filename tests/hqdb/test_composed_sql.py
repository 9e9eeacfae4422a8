"""Composed statements are whole files, and `print_sql` prints each of them for EXPLAIN.

From conftest.py: `houston` is a store on PostgreSQL.
"""

import ast
import re
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import pytest
from django.db import transaction

from stores.hqdb.files import heading, load, statement_lines
from stores.hqdb.sql import fetch, run_sql
from stores.pipeline.sql_catalog import as_text, composed_statements
from tests.support.make import query

STORES = Path(__file__).parents[2] / "stores"
SQL_FILES = [path for path in sorted(STORES.rglob("*.sql")) if "migrations" not in path.parts]
# Files that are only parts of statements.
PARTS = [path for path in SQL_FILES if path.name.startswith("_")]
STATEMENTS = composed_statements()
IN_HQ = [statement for statement in STATEMENTS if not statement.is_for_channel]
IN_CHANNELS = [statement for statement in STATEMENTS if statement.is_for_channel]
# What a check looks for is any query; statements about deliveries are printed without a file.
OUTSIDE_FILES = {
    "integrity/checks.py",
    "integrity/reconcile.py",
}
MODULES = [
    path
    for path in sorted((STORES / "pipeline").rglob("*.py"))
    if "download" not in path.parts and "/".join(path.parts[-2:]) not in OUTSIDE_FILES
]
# A hole of a statement, and what says who runs a statement, or where it is a part.
HOLE = re.compile(r"(?<!\{)\{(\w+)\}")
USE = re.compile(r"Run by |For checks? |[Aa] part of |The (beginning|end) of |A condition in ")
# Calls that put a name or a value into a statement, and no other part.
NAMES_AND_VALUES = {"Identifier", "Literal", "identifiers"}
STATEMENT = re.compile(r"\s*(WITH|SELECT|INSERT INTO|UPDATE|DELETE FROM)\b")


def constant_fragments(path: Path) -> list[str]:
    """The pieces of the lines of a file between its parameters."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("--")]
    return re.split(r"[{][^}]*[}]|%\(\w+\)s|\n", "\n".join(lines))


@pytest.fixture(scope="module")
def hq_database(django_db_setup, django_db_blocker) -> Iterator[None]:
    """HQ's database, for tests that leave nothing in it."""
    with django_db_blocker.unblock():
        yield


@pytest.mark.parametrize("statement", IN_HQ, ids=attrgetter("name"))
def test_hq_explains_every_statement(statement, hq_database):
    with transaction.atomic():
        for maker in statement.makers:
            run_sql(as_text(maker))
        assert fetch(f"EXPLAIN {statement.text()}")
        transaction.set_rollback(True)


@pytest.mark.parametrize("statement", IN_CHANNELS, ids=attrgetter("name"))
def test_a_channel_explains_every_statement(statement, houston):
    assert query(houston, f"EXPLAIN {statement.text()}")


def test_every_file_is_printed():
    files = set(SQL_FILES) - set(PARTS)

    assert {statement.file for statement in STATEMENTS if statement.file} == files
    assert PARTS


@pytest.mark.parametrize("path", SQL_FILES, ids=attrgetter("name"))
def test_a_heading_explains_each_hole_and_names_the_caller(path):
    explained, text = heading(path), "\n".join(statement_lines(path))

    assert set(HOLE.findall(text)) == set(HOLE.findall(explained))
    assert USE.search(explained.replace("\n-- ", " "))


def test_a_statement_is_loaded_without_its_heading(tmp_path):
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "find.sql").write_text(
        "-- Find it.\n--\n-- {x}: by it.\nSELECT {x}\n-- x\n"
    )

    assert load(str(tmp_path / "finder.py"), "find").string == "SELECT {x}\n-- x"
    assert heading(tmp_path / "sql" / "find.sql") == "-- Find it.\n--\n-- {x}: by it."


def test_every_name_is_printed_once():
    names = [statement.name for statement in STATEMENTS]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", PARTS, ids=attrgetter("name"))
def test_every_part_belongs_to_a_statement(hq_database, path):
    longest_fragment = max(constant_fragments(path), key=len)

    assert any(longest_fragment in statement.text() for statement in STATEMENTS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_statement_is_composed_outside_a_file(path):
    assert composed_in(path.read_text()) == []


TEMPLATE = 'sql.SQL("SELECT 1 FROM {table} WHERE {is_due}")'
TABLE = "table=sql.Identifier(name)"


@pytest.mark.parametrize(
    "code",
    [
        f"run_sql({TEMPLATE}.format({TABLE}, is_due=due(name)))",
        f"DUE = {TEMPLATE}\nrun_sql(DUE.format({TABLE}, is_due=due(name)))",
        'fetch(f"SELECT 1 FROM {table_of(kind)}")',
    ],
)
def test_a_part_from_another_function_makes_a_statement_composed(code):
    assert composed_in(code)


@pytest.mark.parametrize(
    "code",
    [
        f"run_sql({TEMPLATE}.format({TABLE}, is_due=sql.Literal(True)))",
        "def rows_of(table: WorkTable):\n  sql.SQL('SELECT 1 FROM {table}').format(table=table)",
        'fetch(f"SELECT 1 FROM {TABLE}")',
    ],
)
def test_names_and_values_do_not_make_a_statement_composed(code):
    assert composed_in(code) == []


def composed_in(code: str) -> list[str]:
    """The statements of a module that contain a part which a function returns."""
    tree = ast.parse(code)
    return [*composed_f_strings(tree), *composed_templates(tree)]


def composed_f_strings(tree: ast.Module) -> Iterator[str]:
    """The f-strings that contain a call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) for part in node.values if is_text(part))
            if STATEMENT.match(text) and any(is_call(part) for part in node.values):
                yield text


def is_text(part: ast.expr) -> bool:
    return isinstance(part, ast.Constant)


def is_call(part: ast.expr) -> bool:
    return isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Call)


def composed_templates(tree: ast.Module) -> Iterator[str]:
    """The texts of sql.SQL that are formatted with more than names and values.

    The types of run_sql() and its neighbours let nothing else into their holes.
    """
    constants = template_constants(tree)
    work_tables = {
        argument.arg
        for argument in ast.walk(tree)
        if isinstance(argument, ast.arg) and getattr(argument.annotation, "id", "") == "WorkTable"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "format":
            template = node.func.value
            text = template_text(template) or constants.get(getattr(template, "id", ""), "")
            values = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg)]
            if STATEMENT.match(text) and not all(
                is_name_or_value(value, work_tables) for value in values
            ):
                yield text


def template_constants(tree: ast.Module) -> dict[str, str]:
    """The texts of sql.SQL that are assigned to names."""
    return {
        target.id: template_text(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def template_text(node: ast.expr) -> str:
    """The text of sql.SQL("…"); nothing for any other expression."""
    is_template = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "SQL"
    if is_template and isinstance(node.args[0], ast.Constant):
        return str(node.args[0].value)
    return ""


def is_name_or_value(value: ast.expr, work_tables: set[str]) -> bool:
    if isinstance(value, ast.Call):
        function = getattr(value.func, "attr", getattr(value.func, "id", ""))
        return function in NAMES_AND_VALUES
    return getattr(value, "id", "") in work_tables or getattr(value, "attr", "") == "names"
