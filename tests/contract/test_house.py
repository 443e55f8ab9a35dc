"""The house: one list of commands everywhere, dependencies that point down, nothing heavy at the door."""

from __future__ import annotations

import ast
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bptools._dev.docs import SHELLS
from bptools._dev.parameters import Interface, interface
from bptools.core.registry import COMMANDS, Command
from tests.golden import CASES, ROOT, environment

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = ROOT / "bptools"
NAMES = sorted(entry.name for entry in COMMANDS)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# one list of commands


def test_names_are_told_once() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert len({entry.module for entry in COMMANDS}) == len(COMMANDS)
    assert {entry.kind for entry in COMMANDS} <= {"data", "model", "artifact", "service", "umbrella"}


def test_entry_points_are_the_registry() -> None:
    assert PROJECT["scripts"] == {entry.name: f"{entry.module}:main" for entry in COMMANDS}


def test_command_modules_are_the_registry() -> None:
    modules = {f"bptools.commands.{path.stem}" for path in (PACKAGE / "commands").glob("[!_]*.py")}
    assert modules == {entry.module for entry in COMMANDS} | {"bptools.commands.shared"}


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("bin", "{}"),
        ("man/man1", "{}.1"),
        ("bptools/commands/pages", "{}.txt"),
        ("tests/cases", "{}"),
        *((f"completions/{shell}", pattern) for shell, pattern in SHELLS.items()),
    ],
)
def test_folder_names_the_registry(folder: str, pattern: str) -> None:
    found = sorted(path.name for path in (ROOT / folder).iterdir() if not path.name.startswith((".", "__")))
    assert found == sorted(pattern.format(name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_cases(name: str) -> None:
    assert list((CASES / name).glob("*/cmd"))


@pytest.mark.parametrize("name", NAMES)
def test_door_of_the_checkout_works_from_anywhere_and_through_a_link(name: str, tmp_path: Path) -> None:
    door = ROOT / "bin" / name
    assert door.stat().st_mode & stat.S_IXUSR
    link = tmp_path / name
    link.symlink_to(door)
    done = subprocess.run(
        [link, "--version"], cwd=tmp_path, env=environment(str(tmp_path)), capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().startswith(name)


def test_door_without_the_packages_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", ROOT / "bin" / NAMES[0]], cwd=tmp_path, env={}, capture_output=True, text=True
    )
    assert done.returncode == 69
    assert done.stderr.startswith(f"{NAMES[0]}: no module 'typer'")
    assert "make venv" in done.stderr


# dependencies point down

LIGHT = {"typer", "orjson"}
TYPER_IN_CORE = {"bptools.core.cli", "bptools.core.options"}
DOMAINS = {"chat", "quality", "models", "training", "adapters", "export", "gpu"}
MAY_USE = {  # between domain packages; everything may use core
    "quality": {"chat", "models"},
    "models": {"chat"},
    "training": {"chat", "models", "adapters"},
    "export": {"models", "adapters"},
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
SHIPPED = [name for name in MODULES if not name.startswith("bptools._dev")]


def imports(path: Path, name: str) -> list[tuple[str, bool]]:
    """Return (module, whether it is imported when this one is) for every import statement of a file."""
    found: list[tuple[str, bool]] = []
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def visit(node: ast.AST, at_import: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.orelse:
                visit(child, at_import)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                stem = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*stem, base] if base else stem)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.append((inner if inner in MODULES else base, at_import))
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, at_import and not lazy)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


def layer(module: str) -> str:
    """Return commands, core, a domain package, or the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("name", SHIPPED)
def test_imports_point_down(name: str) -> None:
    mine = layer(name)
    for imported, _ in imports(MODULES[name], name):
        if not imported.startswith("bptools"):
            continue
        theirs = layer(imported)
        assert theirs != "_dev", f"{name} imports {imported}, which is not shipped"
        if theirs in ("", mine):
            continue
        if mine == "":
            raise AssertionError(f"{name} imports {imported}")
        if mine == "commands":
            continue
        if mine == "core":
            raise AssertionError(f"{name} imports {imported}: core knows nobody above it")
        assert theirs == "core" or theirs in MAY_USE.get(mine, set()), f"{name} imports {imported}"


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_heavy_is_imported_at_module_top(name: str) -> None:
    allowed = set(LIGHT)
    if layer(name) == "core" and name not in TYPER_IN_CORE:
        allowed = {"orjson"}
    if name.startswith(("bptools.quality.dedup.", "bptools.quality.perplexity.")):
        allowed.add("numpy")  # imported when the options of the command are valid: arrays are their work
    for imported, at_import in imports(MODULES[name], name):
        top = imported.split(".")[0]
        if at_import and top != "bptools" and top not in sys.stdlib_module_names:
            assert top in allowed, f"{name} imports {imported} at its top"


def test_layers_are_known() -> None:
    assert {layer(name) for name in SHIPPED} <= {"", "core", "commands"} | DOMAINS


# nothing heavy at the door

FORBIDDEN = (
    "rich", "pydantic", "numpy", "pandas", "torch", "transformers", "tokenizers", "datasets", "yaml", "pyarrow",
    "requests", "httpx", "click", "huggingface_hub", "filelock", "xxhash", "multiprocessing", "concurrent", "asyncio",
    "importlib.metadata", "sqlite3", "unittest",
)  # fmt: skip

NEEDED = {"bp-dedup": {"numpy", "xxhash"}}  # what the daily run of a command is made of

DRIVER = """
import importlib, json, os, sys
from bptools.core import cli
code = cli.call(importlib.import_module(sys.argv[1]).app, sys.argv[2], sys.argv[3:])
os.write(2, json.dumps([code, sorted(sys.modules)]).encode())
os._exit(0)
"""


def loaded(command: Command, *arguments: str, stdin: bytes, cwd: Path) -> tuple[int, set[str]]:
    """Run a command to its end and return its exit status and the modules that were loaded."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, command.module, command.name, *arguments],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env={**environment(str(cwd)), "PYTHONPATH": str(ROOT), "BP_QUIET": "1"},
        timeout=60,
        check=True,
    )
    code, modules = json.loads(done.stderr.split(b"\n")[-1])
    return code, set(modules)


def plain_interpreter() -> set[str]:
    """Return what this Python loads for nothing: site hooks of the environment, say."""
    program = "import sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return set(json.loads(done.stdout)) - {"json"}


@pytest.mark.parametrize(
    "stdin", [b"", b'{"messages":[{"role":"user","content":"a"}]}\n'], ids=["empty", "chat"]
)
@pytest.mark.parametrize(
    "command", [entry for entry in COMMANDS if entry.kind == "data"], ids=lambda c: c.name
)
def test_daily_run_loads_nothing_heavy(command: Command, stdin: bytes, tmp_path: Path) -> None:
    code, modules = loaded(command, stdin=stdin, cwd=tmp_path)
    assert code == 0
    heavy = {
        module
        for module in modules - plain_interpreter()
        if any(module == name or module.startswith(name + ".") for name in FORBIDDEN)
        and module.split(".")[0] not in NEEDED.get(command.name, set())
    }
    assert heavy == set()


# options

SHARED_NAMES = {"-o": "--output", "-q": "--quiet", "-v": "--verbose", "-n": "--dry-run", "-j": "--jobs",
                "-c": "--config", "-h": "--help"}  # fmt: skip


def faces() -> list[Interface]:
    top = [interface(entry) for entry in COMMANDS]
    return top + [child for face in top for child in face.subcommands]


@pytest.mark.parametrize("face", faces(), ids=lambda face: face.name)
def test_options_have_one_meaning_per_letter_and_words_for_all(face: Interface) -> None:
    for option in face.options:
        long = [name for name in option.names if name.startswith("--")]
        assert long, option
        assert all(re.fullmatch(r"--[a-z0-9]+(-[a-z0-9]+)*", name) for name in long), option
        for short in set(option.names) - set(long):
            assert SHARED_NAMES.get(short) in long, f"{short} is {SHARED_NAMES.get(short)} everywhere"
        assert option.help.split(" [")[0].rstrip().endswith("."), option


@pytest.mark.parametrize("face", faces(), ids=lambda face: face.name)
def test_environment_variable_is_the_long_name(face: Interface) -> None:
    prefix = "BP_" + "".join(f"{word}_" for word in face.name.split()[1:])
    for option in face.options:
        if option.variable:
            long = next(name for name in option.names if name.startswith("--"))
            assert option.variable == (prefix + long[2:].replace("-", "_")).upper()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda entry: entry.name)
def test_version_is_one_line(command: Command, tmp_path: Path) -> None:
    from bptools import __version__

    done = subprocess.run(
        [ROOT / "bin" / command.name, "--version"],
        cwd=tmp_path,
        env=environment(str(tmp_path)),
        capture_output=True,
    )
    between = " (bptools)" if command.name != "bptools" else ""
    assert done.stdout.decode() == f"{command.name}{between} {__version__}{os.linesep}"
