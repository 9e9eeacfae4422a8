"""The documentation describes every command, option, variable, job and reason; its links work."""

import re
from argparse import _SubParsersAction
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from stores.jobs.catalog import JOBS
from stores.messages.reasons import REASONS
from stores.models.run import RunStatus

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
MANUAL = DOCS / "commands.md"
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

COMMANDS = sorted(name for name, app in get_commands().items() if app == "stores")
# A call in the settings that reads an environment variable.
READ_VARIABLE = re.compile(
    r"""\b(?:env\.\w+|text|switch|whole_number|networks)\(\s*["'](\w+)["']"""
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PATH = re.compile(
    r"(?<![\w./-])(?:bench|docs|portal|stores|templates|tests)/(?:[\w/-]+\.(?:py|md|sql)\b|[\w/]*/(?!\w))"
)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def own_options(name):
    """The options of a command and its actions, without those of every Django command."""
    parser = load_command_class("stores", name).create_parser("manage.py", name)
    django_parser = BaseCommand().create_parser("manage.py", name)
    return options_of(parser) - options_of(django_parser)


def options_of(parser):
    """The options of a parser and of the parsers of its actions."""
    options = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            options = options.union(*map(options_of, action.choices.values()))
    return options


def prose_of(document):
    """The text of a document without its code blocks."""
    return CODE_BLOCK.sub("", document.read_text())


def anchors_of(document):
    """The anchors that GitHub generates from the headings of a document."""
    headings = HEADING.findall(prose_of(document))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def section(document, title):
    """The text under a heading of the second level."""
    return document.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def manual_of(command):
    """What the manual says about a command."""
    return MANUAL.read_text().split(f"\n### {command}\n")[1].split("\n## ")[0].split("\n### ")[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_manual_describes_every_option_of_a_command(command):
    text = manual_of(command)

    assert [option for option in own_options(command) if option not in text] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_names_every_command(command):
    assert re.search(rf"`{command}\b", README.read_text())


def test_the_manual_describes_exactly_the_commands_that_exist():
    described = re.findall(r"^### (\w+)$", MANUAL.read_text(), re.MULTILINE)

    assert sorted(described) == COMMANDS


def test_the_reference_lists_every_reason_with_its_text():
    reasons = section(DOCS / "reference.md", "Reasons")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", reasons, re.MULTILINE)

    texts = {code: reason.text.removeprefix("%(field)s: ") for code, reason in REASONS.items()}
    assert rows == [(code, text[0].upper() + text[1:]) for code, text in texts.items()]


def test_the_manual_of_jobs_lists_every_state_of_a_run():
    states = section(DOCS / "jobs.md", "States of a run")

    assert re.findall(r"^\| `(\w+)` \|", states, re.MULTILINE) == RunStatus.values


@pytest.mark.parametrize("code", JOBS)
def test_the_manual_describes_every_job_with_all_its_names(code):
    jobs = section(DOCS / "jobs.md", "Jobs")

    assert [name for name in (code, *JOBS[code].names) if f"`{name}`" not in jobs] == []


def test_the_reference_describes_every_environment_variable():
    names = set(READ_VARIABLE.findall((ROOT / "portal/settings.py").read_text()))
    variables = section(DOCS / "reference.md", "Environment variables")

    assert {"DATABASE_URL", "REDIS_URL", "SYNCLINE_DATA_DIR", "SYNCLINE_PRODUCTION"} <= names
    assert [name for name in sorted(names) if f"`{name}`" not in variables] == []


def is_broken(document, link):
    """Whether a link leads to a file or heading that does not exist."""
    if re.match(r"\w+:", link):
        return False  # a URL
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    return not target.is_file() or bool(anchor and anchor not in anchors_of(target))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_existing_files_and_headings(document):
    links = LINK.findall(prose_of(document))

    assert [link for link in links if is_broken(document, link)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_in_the_text_exist(document):
    paths = PATH.findall(document.read_text())

    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("folder", ["docs", "docs/adr"])
def test_every_page_is_linked_from_the_index_of_its_folder(folder):
    index = ROOT / folder / "README.md"
    pages = {page.name for page in index.parent.glob("*.md")} - {index.name}

    assert f"{folder}/README.md" in LINK.findall(README.read_text())
    assert pages - set(LINK.findall(index.read_text())) == set()
