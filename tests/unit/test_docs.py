"""Pages and completions say what the commands do: drift, markup, and what the real tools make of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bptools._dev import roff
from bptools._dev.docs import generate, stale, write
from bptools._dev.man import command_page, text_page
from bptools._dev.markup import Listing, Literal, PageError, Paragraph, parse
from bptools._dev.parameters import Interface, interface
from bptools.core.registry import COMMANDS
from tests.golden import ROOT, environment

PAGES = sorted((ROOT / "man").glob("man*/*"))


def faces() -> list[Interface]:
    top = [interface(entry) for entry in COMMANDS]
    return [face for entry in top for face in (entry, *entry.subcommands)]


# drift


def test_committed_files_are_what_would_be_generated() -> None:
    assert stale(ROOT, generate()) == []


def test_write_makes_and_removes(tmp_path: Path) -> None:
    files = generate()
    left_over = tmp_path / "man" / "man1" / "bp-gone.1"
    left_over.parent.mkdir(parents=True)
    left_over.write_text("")
    assert len(stale(tmp_path, files)) == len(files) + 1
    write(tmp_path, files)
    assert stale(tmp_path, files) == []
    assert not left_over.exists()
    assert os.access(tmp_path / "bin" / COMMANDS[0].name, os.X_OK)


def test_bytes_do_not_depend_on_terminal_locale_or_hash_seed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bptools._dev.docs", "--check"],
        cwd=ROOT,
        env={**environment(str(tmp_path)), "COLUMNS": "41", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")


# every option everywhere


@pytest.mark.parametrize("face", faces(), ids=lambda face: face.name)
def test_options_of_help_page_and_completions_are_the_same(face: Interface, tmp_path: Path) -> None:
    command, *subcommand = face.name.split()
    done = subprocess.run(
        [ROOT / "bin" / command, *subcommand, "--help"],
        env={**environment(str(tmp_path)), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    options = done.stdout.split("\nOptions:\n")[1].split("\n\n")[0]
    named = set(
        re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*(?=[ ,\n])", re.sub(r"(?m)  [A-Z\[].*$", " ", options))
    )
    known = {name for option in face.options for name in option.names}
    assert named == known

    page = (ROOT / "man" / "man1" / f"{command}.1").read_text().replace(r"\-", "-")
    section = page.split(".SH OPTIONS\n")[1].split("\n.SH ")[0]
    part = section.split(f".SS {face.name}\n")[1] if subcommand else section
    entries = re.findall(r"^\.TP\n(.*)$", part.split("\n.SS ")[0], re.MULTILINE)
    assert {name for entry in entries for name in re.findall(r"\\fB(--?[\w-]+)\\fR", entry)} == known

    fish = (ROOT / "completions" / "fish" / f"{command}.fish").read_text()
    scope = f"_using {subcommand[0]}'" if subcommand else "_using -"
    found = set()
    for line in fish.split("\n"):
        if line.startswith("complete ") and scope in line:
            found |= {f"--{name}" for name in re.findall(r" -l ([\w-]+)", line)}
            found |= {f"-{name}" for name in re.findall(r" -s (\w)", line)}
    assert found == known

    for shell, name in (("bash", command), ("zsh", f"_{command}")):
        script = (ROOT / "completions" / shell / name).read_text()
        words = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", script))
        assert known <= words


# what the tools say


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="no mandoc")
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_mandoc_finds_no_fault(page: Path) -> None:
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "style", page], capture_output=True, text=True)
    assert done.stdout == ""


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="no mandoc")
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_code_of_the_page_is_rendered_as_written(page: Path) -> None:
    source = next((ROOT / "bptools").glob(f"*/pages/{page.name.removesuffix('.1')}.txt"), None)
    assert source is not None
    done = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=200", page], capture_output=True, check=True)
    shown = re.sub(".\b", "", done.stdout.decode())
    for blocks in parse(source.read_text(), source.name).values():
        for block in blocks:
            if isinstance(block, Literal):
                assert all(line in shown for line in block.lines)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_accepts_its_completions(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    for script in sorted((ROOT / "completions" / shell).iterdir()):
        done = subprocess.run([shell, "-n", script], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), script


# markup

COMPLETE = "DESCRIPTION\nWhat it is.\n\nEXAMPLES\n    true\n\nEXIT STATUS\n    0  done\n\nBUGS\nNone.\n\nSEE ALSO\ntrue(1)\n"


def test_blocks_are_told_apart() -> None:
    text = (
        "DESCRIPTION\nOne\nparagraph.\n\n    code  here\n      deeper\n\nAnother:\n    name     words\n"
        "             and more\n    long, name  words\n\n    a  b  c\n\nEXAMPLES\n    x  y\n"
    )
    assert parse(text, "page") == {
        "DESCRIPTION": [
            Paragraph("One paragraph."),
            Listing((("code", "here deeper"),)),
            Paragraph("Another:"),
            Listing((("name", "words and more"), ("long, name", "words"))),
            Literal(("a  b  c",)),
        ],
        "EXAMPLES": [Literal(("x  y",))],
    }


def test_blank_lines_inside_code_stay() -> None:
    assert parse("EXAMPLES\n    a\n\n      b\n", "page")["EXAMPLES"] == [Literal(("a", "", "  b"))]


@pytest.mark.parametrize("title", ["DESCRIPTION", "EXAMPLES", "EXIT STATUS", "BUGS", "SEE ALSO"])
def test_page_without_a_section_is_refused_by_name(title: str) -> None:
    text = re.sub(rf"(?ms)^{title}\n.*?(?=^[A-Z ]+$|\Z)", "", COMPLETE)
    with pytest.raises(PageError, match=f"no section {title}"):
        command_page(COMMANDS[0], text, "2000-01-01")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (COMPLETE + "OPTIONS\nnone\n", "OPTIONS is generated"),
        (COMPLETE + "BUGS\nmore\n", "second section BUGS"),
        ("stray\n" + COMPLETE, "before the first section"),
        (COMPLETE + "\tx\n", "a tab"),
    ],
)
def test_faulty_page_is_refused(text: str, fault: str) -> None:
    with pytest.raises(PageError, match=fault):
        command_page(COMMANDS[0], text, "2000-01-01")


def test_text_page_needs_its_name() -> None:
    with pytest.raises(PageError, match="NAME is not"):
        text_page("x", 7, "NAME\ny - z\n\nDESCRIPTION\nIt is.\n\nSEE ALSO\nb(1)\n", "2000-01-01")


def test_sections_come_in_their_order() -> None:
    page = command_page(COMMANDS[0], "RECORDS\nx\n\n" + COMPLETE, "2000-01-01")
    titles = re.findall(r"^\.SH (.*)$", page, re.MULTILINE)
    assert titles == ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "RECORDS", "EXAMPLES", "EXIT STATUS",
                      "ENVIRONMENT", "BUGS", "SEE ALSO"]  # fmt: skip


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="no mandoc")
@pytest.mark.parametrize(
    "line", [".request", "'quote", "\\fBnot bold\\n", "`a' ^ ~ -- – 中 😀", "-x --y", "\\"]
)
def test_roff_shows_what_was_written(line: str) -> None:
    page = text_page(
        "x", 7, f"NAME\nx - y\n\nDESCRIPTION\nIt is.\n\nCODE\n    {line}\n\nSEE ALSO\nb(1)\n", "2000-01-01"
    )
    done = subprocess.run(["mandoc", "-T", "utf8"], input=page.encode(), capture_output=True, check=True)
    assert line in re.sub(".\b", "", done.stdout.decode())


def test_source_lines_stay_short_and_never_start_a_request() -> None:
    lines = roff.filled(roff.inline("word " * 40 + ". .. 'x .TH " * 20))
    assert all(len(line) <= roff.WIDTH + 2 for line in lines)
    assert not any(line.startswith((".", "'")) for line in lines)
