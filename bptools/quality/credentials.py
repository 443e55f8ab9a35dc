r"""Secrets in text: private keys, vendors' tokens by their published form, passwords in URLs, assignments.

    bp-filter --redact key chats.jsonl > clean.jsonl

A vendor's token is known by its prefix and length; the table names where the vendor documents it. What has
no prefix (`api_key = "..."`, `password: ...`) is taken only if the value looks random, so that
`password = input()` and `token = "your_token_here"` stay. Not found: secrets in bare prose without any such
word, tokens without a prefix of their own (Discord, Mailchimp, plain 32-digit hex), anything encoded twice.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

Span = tuple[int, int]


class Form(NamedTuple):
    """How a vendor's token looks: what it starts with, what follows, and the vendor's page that says so."""

    prefixes: tuple[str, ...]
    rest: str
    source: str


_END = r"(?![A-Za-z0-9_-])"

# Every form holds 20 characters of [A-Za-z0-9_-] in a row; `may_hold` relies on it and a test checks it.
FORMS = (
    Form(
        ("sk-ant-",),
        r"[a-z]{2,8}[0-9]{2}-[A-Za-z0-9_-]{24,}",
        "docs.anthropic.com, Admin API and API overview: sk-ant-api..., sk-ant-admin...",
    ),
    Form(
        ("sk-proj-", "sk-svcacct-", "sk-admin-", "sk-or-v1-"),
        r"[A-Za-z0-9_-]{32,}",
        "platform.openai.com/docs, API keys of projects and service accounts; openrouter.ai/docs",
    ),
    Form(("sk-",), r"[A-Za-z0-9]{32,}" + _END, "platform.openai.com/docs, user keys; api-docs.deepseek.com"),
    Form(
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
        r"[A-Za-z0-9]{36,251}" + _END,
        "github.blog, Behind GitHub's new authentication token formats",
    ),
    Form(("github_pat_",), r"[A-Za-z0-9]{22}_[A-Za-z0-9]{59}", "docs.github.com, fine-grained tokens"),
    Form(
        ("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glagent-", "glsoat-", "glft-", "gloas-"),
        r"[A-Za-z0-9_-]{20,}(?:\.[0-9a-z]{2}\.[0-9a-z]{9})?",
        "docs.gitlab.com/security/tokens, token prefixes",
    ),
    Form(
        ("AKIA", "ASIA"),
        r"[A-Z2-7]{16}(?![A-Za-z0-9])",
        "docs.aws.amazon.com/IAM, identifiers: unique ID prefixes",
    ),
    Form(("AIza",), r"[A-Za-z0-9_-]{35}" + _END, "cloud.google.com/docs, API keys: 39 characters"),
    Form(("GOCSPX-",), r"[A-Za-z0-9_-]{28}" + _END, "developers.google.com/identity, OAuth client secrets"),
    Form(("ya29.",), r"[A-Za-z0-9_-]{30,}", "developers.google.com/identity, OAuth access tokens"),
    Form(
        ("xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxo-", "xapp-"),
        r"[A-Za-z0-9-]{24,}",
        "api.slack.com/concepts/token-types",
    ),
    Form(
        ("hooks.slack.com/services/",),
        r"T[A-Z0-9]{6,12}/B[A-Z0-9]{6,12}/[A-Za-z0-9]{20,}",
        "api.slack.com/messaging/webhooks",
    ),
    Form(
        ("sk_live_", "rk_live_", "sk_test_", "rk_test_", "whsec_"),
        r"[A-Za-z0-9]{24,}",
        "docs.stripe.com/keys; the publishable pk_ keys are no secret",
    ),
    Form(("hf_",), r"[A-Za-z]{34}(?![A-Za-z0-9_])", "huggingface.co/docs/hub/security-tokens"),
    Form(("npm_",), r"[A-Za-z0-9]{36}(?![A-Za-z0-9_])", "docs.npmjs.com, about access tokens"),
    Form(
        ("pypi-AgEIcHlwaS5vcmc", "pypi-AgENdGVzdC5weXBpLm9yZw"),
        r"[A-Za-z0-9_-]{50,}",
        "pypi.org/help#apitoken: a macaroon of pypi.org or test.pypi.org in base64",
    ),
    Form(
        ("SG.",), r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}" + _END, "docs.sendgrid.com, API keys: 69 characters"
    ),
    Form(("SK", "AC"), r"[0-9a-f]{32}(?![A-Za-z0-9])", "twilio.com/docs/glossary/what-is-a-sid"),
    Form(
        ("eyJ",),
        r"[A-Za-z0-9_-]{17,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}",
        "RFC 7519: JSON Web Token, signed",
    ),
    Form(("dop_v1_", "doo_v1_", "dor_v1_"), r"[0-9a-f]{64}", "docs.digitalocean.com/reference/api"),
    Form(("shpat_", "shpca_", "shppa_", "shpss_"), r"[0-9a-fA-F]{32}", "shopify.dev/changelog, token format"),
    Form(("gsk_",), r"[A-Za-z0-9]{48,}", "console.groq.com/docs"),
    Form(("xai-",), r"[A-Za-z0-9]{70,}", "docs.x.ai"),
    Form(("r8_",), r"[A-Za-z0-9]{37}(?![A-Za-z0-9_])", "replicate.com/docs/topics/security/api-tokens"),
    Form(("dapi",), r"[0-9a-f]{32}(?![A-Za-z0-9])", "docs.databricks.com, personal access tokens"),
    Form(("hvs.", "hvb."), r"[A-Za-z0-9_-]{24,}", "developer.hashicorp.com/vault/docs/concepts/tokens"),
    Form(("AGE-SECRET-KEY-1",), r"[A-Z0-9]{58}", "github.com/C2SP/C2SP age.md"),
)


class _Search(NamedTuple):
    literal: str  # without it the pattern cannot match
    pattern: re.Pattern[str]  # the secret is group 1


@functools.cache
def _vendors() -> tuple[_Search, ...]:
    """Return one search per prefix, each starting with a literal so that `re` skips to it.

    No letter may stand before the prefix, but for that of an escape such as \\n in JSON within a string.
    """
    searches = []
    for form in FORMS:
        for prefix in form.prefixes:
            plain = re.escape(prefix)
            free = rf"(?:(?<![A-Za-z0-9_]{plain})|(?<=\\[nrtbf]{plain}))"
            searches.append(_Search(prefix, re.compile(f"({plain}{free}{form.rest})")))
    # core.telegram.org/bots/api: a numeric id, a colon, 35 characters
    searches.append(
        _Search(
            ":AA",
            re.compile(
                rf"(?:(?<![A-Za-z0-9_])|(?<=bot)|(?<=\\[nrtbf]))([0-9]{{8,10}}:AA[A-Za-z0-9_-]{{33}}){_END}"
            ),
        )
    )
    return tuple(searches)


# RFC 7468 and the older OpenSSL, OpenSSH and PGP headers. A block without an end goes on while it is base64.
_PEM = re.compile(
    r"(-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:(?!-----)[\s\S]){0,20000}?-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"|(?:\s|\\[nr])*(?:[A-Za-z0-9+/=]{16,}(?:\s|\\[nr])*)+))"
)

# learn.microsoft.com: storage accounts have 64-byte keys, Service Bus, Event Hubs and IoT Hub 32-byte ones.
_AZURE = re.compile(r"(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{86}==|[A-Za-z0-9+/]{43}=)")

# RFC 3986: userinfo before the last @ of the authority.
_URL = re.compile(r"://([^\s/?#\"'<>:@\\]{0,80}):([^\s/?#\"'<>@\\\[\]]{3,120})@(?=[A-Za-z0-9\[])")

_BEARER = re.compile(r"[Bb]earer\s{1,4}([A-Za-z0-9._~+/-]{20,}=*)")

# A name that says secret; what assigns, with the quotes, brackets and escapes around it; the value, in quotes
# or bare. Names that say password come first: a password is shorter than what a machine drew.
_NAMES = ("password", "passwd", "passphrase", "pwd", "密码", "密碼", "secret", "token", "key")
_PASSWORDS = frozenset(_NAMES[:6])
_KEY_OF = re.compile(
    r"(?:api|access|private|auth|encryption|subscription|signing|master|account)[_-]?$", re.IGNORECASE
)
_VALUE = re.compile(
    r"(?:[A-Za-z0-9_-]{0,24}\\?[\"'`]?\]?\s{0,3}(?:=>|:=|==?|:|：)|\s{1,3}is:?\s|[是为][:：]?)\s{0,3}"
    r"(?:[rbuf]?\\?[\"'`]([^\s\"'`\\<>{}\[\]]{8,400})(?=\\?[\"'`])"
    r"|([^\s\"'`\\<>{}\[\]()$%,;&|。，；][^\s\"'`\\<>{}\[\](),;|。，；]{6,399}[^\s\"'`\\<>{}\[\](),;|.。，；])"
    r"(?=[.。，；]|\\?[\"'`]?(?:[\s,;|}\]]|\\[nrt]|$)))"
)
_QUERY = re.compile(r"[?&][A-Za-z0-9_.-]*$")
_PLACEHOLDER = re.compile(
    r"your|my[_-]|example|sample|placeholder|change|replace|insert|dummy|fake|test|todo|redacted|here|password"
    r"|passwd|secret|token|xxx|\*\*\*|\.\.\.|123456|abcdef|abc123|a1b2c3|qwerty|foobar|api[_-]?key",
    re.IGNORECASE,
)
_DEFAULTS = frozenset(
    (
        *("pass", "password", "passwd", "pwd", "pw", "secret", "user", "username", "admin", "root", "guest"),
        *("postgres", "mysql", "token", "key", "apikey", "test", "demo", "hostname", "port"),
    )
)

_MEETING = re.compile("[A-Za-z][0-9]|[0-9][A-Za-z]")
_MEETINGS = re.compile("(?<=[A-Za-z])[0-9]|(?<=[0-9])[A-Za-z]")

# The screen. A translation takes 0.6 ns a byte, a search for a single byte less, for two or more about as
# much as a translation; a regex that starts with one literal byte jumps from one to the next.
CLASSES = bytes(  # digits 0, ASCII letters a, all else as it is
    48 if 48 <= byte <= 57 else 97 if byte < 128 and chr(byte).isalpha() else byte for byte in range(256)
)
_RUNS = bytes(97 if (chr(byte).isalnum() and byte < 128) or byte in b"_-" else 32 for byte in range(256))
_RUN = b"a" * 20
_DIGIT_AT_LETTER = re.compile(rb"0(?:a|(?<=a0)(?<!\\a0))")  # not the n of a line break before a digit
_WORDS = (b"key", b"token", b"ecret", b"passw", b"passp", b"pwd", b"bearer")  # parts of _NAMES
_HAN_WORDS = tuple(name.encode() for name in _NAMES if not name.isascii())


def may_hold(raw: bytes, classes: bytes) -> bool:
    """Return False only if `find_credentials` finds nothing in the text that `raw` is the UTF-8 of.

    Also holds for a line of JSON without \\u and \\/ escapes. `classes`: raw translated by CLASSES. All but
    passwords in URLs and Hugging Face's tokens have a digit beside a letter; little prose has.
    """
    if (b"_" in raw and b"hf_" in raw) or (b"@" in raw and b"://" in raw):
        return True
    if b"0" not in classes or _DIGIT_AT_LETTER.search(classes) is None:
        return False
    if _RUN in raw.translate(_RUNS) or b"Key=" in raw or b"PRIVATE KEY" in raw:
        return True
    lower = raw.lower()
    for word in _WORDS:
        if word in lower:
            return True
    return not raw.isascii() and any(word in raw for word in _HAN_WORDS)


def find_credentials(text: str) -> list[Span]:
    """Return where secrets stand, as rising (start, end) that do not overlap."""
    spans: list[Span] = []
    if "PRIVATE KEY" in text:
        spans.extend(match.span(1) for match in _PEM.finditer(text) if _MEETING.search(match[1]))
    raw = text.encode("utf-8", "surrogatepass")
    if _RUN in raw.translate(_RUNS):
        spans.extend(_find_tokens(text))
    if "Key=" in text:
        spans.extend(match.span(1) for match in _AZURE.finditer(text) if _MEETING.search(match[1]))
    if "://" in text and "@" in text:
        spans.extend(
            match.span(2)
            for match in _URL.finditer(text)
            if not _is_stand_in(match[2]) and match[1] != match[2]
        )
    if "earer" in text:
        spans.extend(match.span(1) for match in _BEARER.finditer(text) if looks_random(match[1]))
    if _DIGIT_AT_LETTER.search(raw.translate(CLASSES)):
        spans.extend(_find_assigned(text))
    return apart(spans)


def _find_tokens(text: str) -> Iterator[Span]:
    for search in _vendors():
        if search.literal in text:
            for match in search.pattern.finditer(text):
                token = match[1]
                drawn = search.literal == "hf_" or _MEETING.search(token, len(search.literal))
                if drawn and len(set(token[len(search.literal) :])) >= 8:  # not sk-xxxxxxxx
                    yield match.span(1)


def _find_assigned(text: str) -> Iterator[Span]:
    lower = text.lower()
    if len(lower) != len(text):  # a Turkish capital İ becomes two characters
        lower = "".join(char.lower() if char.isascii() else char for char in text)
    for name in _NAMES:
        begin = lower.find(name)
        while begin >= 0:
            match = _VALUE.match(text, begin + len(name))
            if match is not None and (name != "key" or _KEY_OF.search(text, max(0, begin - 13), begin)):
                start, end = match.span(1 if match[1] else 2)
                value = text[start:end]
                password = name in _PASSWORDS
                if match[2] and not (password and not _QUERY.search(text, max(0, begin - 40), begin)):
                    value = value.split("&")[0]  # what follows is the next parameter of a URL
                if looks_random(value) or (password and looks_like_password(value)):
                    yield start, start + len(value)
            begin = lower.find(name, begin + 1)


def apart(spans: list[Span]) -> list[Span]:
    """Return spans in rising order, those that overlap an earlier one joined with it."""
    if len(spans) < 2:
        return spans
    spans.sort()
    joined = [spans[0]]
    for start, end in spans[1:]:
        if start < joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def looks_random(value: str) -> bool:
    """Judge whether a value was drawn by chance: 16 characters and more, digits strewn among the letters.

    Names of things carry their digits at the end (`access_token_v2`), random strings anywhere: digits and
    letters must meet at least three times, and a character must carry 3 bits.
    """
    if len(value) < 16 or _is_stand_in(value):
        return False
    meetings = sum(1 for _ in _MEETINGS.finditer(value))
    return meetings >= 3 and entropy(value) >= 3.0


def looks_like_password(value: str) -> bool:
    """Judge whether a value is a password someone chose: 8 characters and more, of three classes."""
    if len(value) < 8 or _is_stand_in(value):
        return False
    classes = (
        any(char.islower() for char in value)
        + any(char.isupper() for char in value)
        + any(char.isdigit() for char in value)
        + any(not char.isalnum() for char in value)
    )
    return classes >= 3 and _MEETING.search(value) is not None and entropy(value) >= 2.5


def _is_stand_in(value: str) -> bool:
    """Tell a placeholder or a reference (`your_key`, `${KEY}`, `os.environ.x`, `{{token}}`) from a value."""
    return (
        value.lower() in _DEFAULTS
        or value[0] in "$<{[%*("
        or len(set(value)) < 4
        or _PLACEHOLDER.search(value) is not None
    )


def entropy(value: str) -> float:
    """Return Shannon's entropy of a string's characters, in bits per character."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in map(value.count, set(value)))


__all__ = [
    "CLASSES",
    "FORMS",
    "Form",
    "Span",
    "apart",
    "entropy",
    "find_credentials",
    "looks_random",
    "may_hold",
]
