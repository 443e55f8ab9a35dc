"""Markup to plain paragraphs: reStructuredText, Markdown, HTML, docstrings.

Every function takes a text and returns its paragraphs, each one line. A paragraph is a heading, a list item
or running prose; tables, directives without prose and most literal blocks are left out. One short literal
block in eight stays, so that code is not unknown to who learns from the text.
"""

from __future__ import annotations

import ast
import html.parser
import re
import zlib

_RULE = re.compile(r"^([^\w\s])\1{2,}\s*$")
_DIRECTIVE = re.compile(r"^\.\. +([\w:+.-]+)::\s*(.*)$")
_BULLET = re.compile(r"^(\s*)(?:[-*+•]|\d{1,2}[.)]|#\.|\([a-z0-9]\))\s+(\S.*)$")
_ROLE = re.compile(r":[\w:+.-]+:`([^`]*)`")
_PROSE_DIRECTIVES = frozenset((
    "note", "warning", "tip", "important", "caution", "admonition", "topic", "hint", "attention", "danger",
    "seealso", "container", "compound", "only", "function", "class", "method", "attribute", "data",
    "exception", "module", "option", "confval", "setting", "describe", "glossary", "sidebar",
    "staticmethod", "classmethod", "decorator", "property", "macro", "type", "member", "envvar", "program",
    "cmdoption",
))  # fmt: skip
_KEPT_CODE_LINES = 8
_ONE_IN = 8


def _kept(block: list[str]) -> bool:
    filled = [line for line in block if line.strip()]
    return 0 < len(filled) <= _KEPT_CODE_LINES and zlib.crc32("\n".join(filled).encode()) % _ONE_IN == 0


def _code(block: list[str]) -> list[str]:
    """Return a literal block as one paragraph with its line ends, or nothing."""
    if not _kept(block):
        return []
    margin = min(len(line) - len(line.lstrip()) for line in block if line.strip())
    return ["\n".join(line[margin:].rstrip() for line in block if line.strip())]


def _title(role: re.Match[str]) -> str:
    words = role[1].lstrip("~!")
    return re.sub(r"\s*<[^>]*>$", "", words) or words


def inline(text: str) -> str:
    """Take roles, links and emphasis out of one paragraph of reStructuredText."""
    text = _ROLE.sub(_title, text)
    text = re.sub(r"`([^`<]+?)\s*<[^`>]*>`__?", r"\1", text)
    text = re.sub(r"`([^`]+)`__?(?!\w)", r"\1", text)
    text = re.sub(r"``([^`]+)``", r"\1", text)
    text = re.sub(r"\s?\[#?[\w.*-]*\]_", "", text)
    text = re.sub(r"(?<![\w*])\*\*?([^*\s](?:[^*]*[^*\s])?)\*\*?(?![\w*])", r"\1", text)
    text = re.sub(r"(?<=\w)_(?=[\s.,;:)]|$)", "", text)
    text = re.sub(r"(?<!\w)`([^`]+)`", r"\1", text)
    text = re.sub(r"\|(\w[\w -]*)\|", r"\1", text)
    text = text.replace("\\ ", "").replace("\\", "") if "\\" in text else text
    return re.sub(r"::$", ":", " ".join(text.split()))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _block(lines: list[str], start: int, margin: int) -> int:
    """Return where the lines that are indented deeper than the margin end."""
    at = start
    while at < len(lines) and (not lines[at].strip() or _indent(lines[at]) > margin):
        at += 1
    return at


def restructured(text: str) -> list[str]:
    """Return the paragraphs of a text in reStructuredText."""
    lines = text.expandtabs(8).splitlines()
    found: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip() or _RULE.match(line.strip()):
            at += 1
            continue
        if line.lstrip().startswith(".."):
            at = _read_explicit(lines, at, found)
        elif line.lstrip().startswith((">>>", "+--", "+==", "| ", "|-")) or re.match(r"^\s*=+ +=", line):
            at = _skip_table(lines, at)
        elif re.match(r"^\s*:[^`]{1,60}?:(\s|$)", line):
            at = _block(lines, at + 1, _indent(line))
        else:
            at = _read_paragraph(lines, at, found)
    return found


def _skip_table(lines: list[str], at: int) -> int:
    grid = re.match(r"^\s*=+ +=", lines[at])
    if grid:  # a simple table ends with its last rule before a blank line
        at += 1
        while at < len(lines) and not (re.match(r"^\s*=+( +=+)*\s*$", lines[at]) and _blank(lines, at + 1)):
            at += 1
        return at + 1
    while at < len(lines) and lines[at].strip():
        at += 1
    return at


def _blank(lines: list[str], at: int) -> bool:
    return at >= len(lines) or not lines[at].strip()


def _read_explicit(lines: list[str], at: int, found: list[str]) -> int:
    margin = _indent(lines[at])
    directive = _DIRECTIVE.match(lines[at].strip())
    end = _block(lines, at + 1, margin)
    body = lines[at + 1 : end]
    if directive:
        name = directive[1].split(":")[-1]
        while body and re.match(r"^\s*:[\w-]+:", body[0]):
            body = body[1:]
        if name in _PROSE_DIRECTIVES:
            words = directive[2].strip()
            prose = name in {"note", "warning", "tip", "important", "caution", "hint", "seealso"}
            if words and prose:  # the first lines of the body belong to it
                body = [" " * (_indent(body[0]) if body and body[0].strip() else 3) + words, *body]
            found.extend(restructured("\n".join(body)))
        elif name in {"code-block", "code", "sourcecode", "console", "ipython"}:
            found.extend(_code(body))
    return max(end, at + 1)


def _read_paragraph(lines: list[str], at: int, found: list[str]) -> int:
    margin = _indent(lines[at])
    end = at + 1
    bullet = _BULLET.match(lines[at])
    while end < len(lines) and lines[end].strip():
        if _RULE.match(lines[end].strip()):
            break
        if bullet and (_BULLET.match(lines[end]) or _indent(lines[end]) <= margin):
            break
        if not bullet and _indent(lines[end]) > margin and end == at + 1 and not lines[at].endswith("::"):
            break  # a term and its definition
        if not bullet and _BULLET.match(lines[end]) and _indent(lines[end]) == margin:
            break
        end += 1
    words = " ".join(line.strip() for line in lines[at:end])
    if bullet:
        words = re.sub(r"^(?:[-*+•]|#\.)\s+", "- ", words)
    found.append(inline(words))
    if words.endswith("::"):
        stop = _block(lines, end, margin)
        found.extend(_code(lines[end:stop]))
        return stop
    return end


def markdown(text: str) -> list[str]:
    """Return the paragraphs of a text in Markdown."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    found: list[str] = []
    held: list[str] = []

    def flush() -> None:
        if held:
            found.append(" ".join(held))
            held.clear()

    fence: list[str] | None = None
    for line in text.expandtabs(4).splitlines():
        words = line.strip()
        if words.startswith(("```", "~~~", ":::")):
            flush()
            if fence is not None and not words.startswith(":::"):
                found.extend(_code(fence))
                fence = None
            elif fence is None and not words.startswith(":::"):
                fence = []
            continue
        if fence is not None:
            fence.append(line)
            continue
        if not words or words.startswith(("|", "![", "<", "{", "[^", "---", "===", ":", "=== ")):
            flush()
            continue
        if words.startswith("#"):
            flush()
            found.append(_span(words.lstrip("# ").rstrip("# ")))
            continue
        if _BULLET.match(line):
            flush()
            words = re.sub(r"^[-*+]\s+", "- ", words)
        held.append(_span(words.lstrip("> ")))
    flush()
    return found


def _span(text: str) -> str:
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", text)
    text = re.sub(r"</?[a-zA-Z][^>]*>", "", text)
    text = re.sub(r"\{[\w:+.-]+\}`([^`]*?)(?:\s*<[^`]*>)?`", r"\1", text)
    text = re.sub(r"`+([^`]+)`+", r"\1", text)
    text = re.sub(r"(\*\*|__)(?=\S)(.+?)\1", r"\2", text)
    return re.sub(r"(?<![\w*])[*_]([^*_\s][^*_]*)[*_](?![\w*])", r"\1", text)


class _Page(html.parser.HTMLParser):
    """Collects the text of paragraphs, list items and headings."""

    _taken = frozenset(("p", "li", "dd", "dt", "h1", "h2", "h3", "h4"))
    _skipped = frozenset(
        ("script", "style", "nav", "table", "head", "footer", "form", "button", "svg", "pre")
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._words: list[str] = []
        self._skip: list[str] = []
        self._item = ""
        self._in = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._skipped:
            self._skip.append(tag)
        elif tag in self._taken:
            self._flush()
            self._in += 1
            self._item = "- " if tag == "li" else self._item if tag == "p" else ""
        elif tag in ("ul", "ol", "dl", "div", "blockquote"):
            self._flush()
        elif tag == "br":
            self._words.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if self._skip:
            if tag == self._skip[-1]:
                self._skip.pop()
        elif tag in self._taken:
            self._flush()
            self._in = max(0, self._in - 1)
            self._item = ""

    def handle_data(self, data: str) -> None:
        if not self._skip and self._in:
            self._words.append(data)

    def _flush(self) -> None:
        words = " ".join("".join(self._words).split()).replace("¶", "").strip()
        self._words.clear()
        if words:
            found = self._item + words
            self._item = ""
            self.found.append(found)


def hypertext(text: str) -> list[str]:
    """Return the paragraphs of a page in HTML."""
    page = _Page()
    page.feed(text)
    page.close()
    return page.found


def docstrings(text: str) -> list[str]:
    """Return the prose of the docstrings of a Python module: what comes before the lists of parameters."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    found: list[str] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        words = ast.get_docstring(node)
        if words and len(words) > 150:
            prose = re.split(
                r"\n\s*(?:Parameters|Args|Arguments|Returns|Attributes|Examples?|See Also|References"
                r"|Raises|Methods)"
                r":?\s*\n|\n\s*[:@](?:param|type|return|arg|rtype|ivar)|\n>>>",
                "\n" + words,
            )[0]
            found.extend(restructured(prose))
    return found
