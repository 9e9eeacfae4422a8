"""The first call of manage.py creates `.venv`; later calls repair it when needed.

A small project stands in for Syncline. It has the same manage.py and portal/embedded, and a pytest
of its own that prints which Python runs it, so that pip needs no network.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from portal.embedded import bootstrap

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "syncline"
version = "0.1.0"
dependencies = []

[project.optional-dependencies]
embedded = []
test = ["pytest>=900"]
dev = []
"""
BACKEND = """
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name, info = "syncline-0.1.0-py3-none-any.whl", "syncline-0.1.0.dist-info/"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        extras = "Provides-Extra: test\\nRequires-Dist: pytest>=900; extra == 'test'\\n"
        extras += "Provides-Extra: dev\\nProvides-Extra: embedded\\n"
        head = "Metadata-Version: 2.1\\nName: syncline\\nVersion: 0.1.0\\n"
        wheel.writestr(info + "METADATA", head + extras)
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""
# Like Debian's own Python, which creates environments without pip.
NO_ENSUREPIP = 'import sys; sys.modules["ensurepip"] = None'
NO_VENV = 'import sys; sys.modules["venv"] = None'


class Project:
    """A checkout of the small project, with a home folder and an index of wheels."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a check out"
        self.home = folder / "home"
        self.site = folder / "site"
        self.wheels = folder / "wheels"
        for path in (self.root, self.home, self.site, self.wheels):
            path.mkdir(parents=True)
        shutil.copy(ROOT / "manage.py", self.root)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "portal/embedded", self.root / "portal/embedded", ignore=ignored)
        (self.root / "portal/__init__.py").touch()
        # The embedded servers are watched by the heartbeat.
        (self.root / "stores").mkdir()
        shutil.copy(ROOT / "stores/__init__.py", self.root / "stores")
        shutil.copy(ROOT / "stores/heartbeat.py", self.root / "stores")
        (self.root / "pyproject.toml").write_text(PYPROJECT)
        (self.root / "constraints.txt").write_text("pytest==900.1\n")
        (self.root / "backend.py").write_text(BACKEND)
        self.customize_python(NO_ENSUREPIP)
        self.publish_pytest("900.1")

    def customize_python(self, sitecustomize: str) -> None:
        """Let Python execute this code when it starts."""
        (self.site / "sitecustomize.py").write_text(sitecustomize)

    def publish_pytest(self, version: str) -> None:
        """Add a wheel of a pytest that prints its environment and its arguments."""
        info = f"pytest-{version}.dist-info/"
        with zipfile.ZipFile(self.wheels / f"pytest-{version}-py3-none-any.whl", "w") as wheel:
            main = "import json, sys; print(json.dumps([sys.prefix, sys.argv[1:]]))"
            wheel.writestr("pytest/__main__.py", main)
            head = f"Metadata-Version: 2.1\nName: pytest\nVersion: {version}\n"
            wheel.writestr(info + "METADATA", head)
            wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
            wheel.writestr(info + "RECORD", "")

    def environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "PYTHONPATH": str(self.site),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
        }

    def manage(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [base_python(), str(self.root / "manage.py"), *arguments],
            env=self.environment(),
            cwd=cwd or self.home,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def stamp(self) -> Path:
        """The file that says which packages are installed."""
        return self.root / ".venv/installed"


def base_python() -> str:
    """The Python from which this environment was created."""
    return str(getattr(sys, "_base_executable", sys.executable))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    pip = [base_python(), "-m", "pip", "--version"]
    if subprocess.run(pip, capture_output=True, check=False).returncode:
        pytest.skip("the Python of this environment has no pip")
    return Project(tmp_path)


def test_the_first_call_creates_the_environment_and_others_use_it(project: Project) -> None:
    first = project.manage("test", "-k", "two words")
    second = project.manage("test")

    assert json.loads(first.stdout) == [str(project.root / ".venv"), ["-k", "two words"]]
    assert "Installing the packages" in first.stderr
    assert json.loads(second.stdout) == [str(project.root / ".venv"), []]
    assert second.stderr == ""
    assert json.loads(project.stamp.read_text())["extras"] == ["dev", "embedded", "test"]
    assert not any(path.name.startswith("pytest") for path in project.home.rglob("*"))


def test_changed_constraints_are_installed_by_the_next_call(project: Project) -> None:
    project.manage("test")
    old_file = project.root / ".venv/old_file"
    old_file.touch()
    project.publish_pytest("900.2")
    (project.root / "constraints.txt").write_text("pytest==900.2\n")

    result = project.manage("test")

    assert result.returncode == 0
    assert list(project.root.glob(".venv/lib/*/site-packages/pytest-900.2.dist-info"))
    assert old_file.exists()


def test_an_incomplete_environment_is_created_again(project: Project) -> None:
    old_file = project.root / ".venv/old_file"
    old_file.parent.mkdir()
    old_file.touch()

    result = project.manage("test")

    assert result.returncode == 0
    assert project.stamp.exists()
    assert not old_file.exists()


def test_two_first_calls_at_once_create_the_environment_once(project: Project) -> None:
    command = [base_python(), str(project.root / "manage.py"), "test"]
    environ = os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(project.wheels)}
    environ |= {"PYTHONPATH": str(project.site), "HOME": str(project.home)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    processes = [subprocess.Popen(command, env=environ, text=True, **pipes) for _ in range(2)]
    outputs = [process.communicate() for process in processes]

    venv = str(project.root / ".venv")
    assert [json.loads(stdout)[0] for stdout, _ in outputs] == [venv, venv]
    assert sum("Making .venv" in stderr for _, stderr in outputs) == 1


def test_a_path_is_relative_to_the_working_directory(project: Project) -> None:
    project.manage("test")
    folder = project.root / "tests"
    folder.mkdir()
    (folder / "test_one.py").touch()

    result = project.manage("test", "test_one.py::test_it", "-q", cwd=folder)

    assert json.loads(result.stdout)[1] == [f"{folder}/test_one.py::test_it", "-q"]


def test_a_python_without_venv_ends_with_a_message(project: Project) -> None:
    project.customize_python(NO_VENV)

    result = project.manage("test")

    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "This Python has no venv module: install it (Debian: apt-get install python3-venv) "
        "and start again"
    ]


def test_a_failed_installation_leaves_a_message_and_no_stamp(project: Project) -> None:
    for wheel in project.wheels.iterdir():
        wheel.unlink()

    result = project.manage("test")

    assert result.returncode == 1
    assert result.stderr.endswith("The packages could not be installed; pip says why above\n")
    assert "Traceback" not in result.stderr
    assert not project.stamp.exists()


@pytest.mark.parametrize(
    ("version", "specifier", "is_installed"),
    [
        ("5.2.19", ">=5.2.19,<6", True),
        ("6.0", ">=5.2.19,<6", False),
        ("5.2", ">=5.2.0", True),
        ("9.1.2.post2", ">=9.1.2.post2", True),
        ("9.1.2.post1", ">=9.1.2.post2", False),
        ("3.0", "==3.0.0", True),
        ("3.0.1", "==3.0.0", False),
        ("1", "", True),
    ],
)
def test_versions_are_compared_by_their_numbers(
    version: str, specifier: str, is_installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)

    assert bootstrap.is_installed("anything", specifier) is is_installed


def test_the_environment_of_the_tests_has_all_packages() -> None:
    assert list(bootstrap.unsatisfied(ROOT, ["embedded", "test", "dev"])) == []
