"""Secrets and personal data replaced by what they were: [EMAIL], [PHONE], [KEY], [IP].

    bp-filter --redact email,phone,key,ip chats.jsonl > clean.jsonl

Every kind has a screen on bytes that costs a microsecond and never misses, and a search that decides.
A search is repeated until it finds nothing, so that redacting what was redacted changes nothing.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from bptools.core.errors import MissingExtra, UsageError
from bptools.core.records import Record, Reject, reparse_exact
from bptools.quality.credentials import CLASSES, Span, find_credentials, may_hold
from bptools.quality.labels import Place, below, is_label, place_of

KINDS = ("key", "email", "ip", "phone")  # in the order of the search: a password in a URL stands before an @

_ESCAPED = re.compile(rb"\\[u/]")  # characters that the screens look for may be written so


class Redactor:
    """Replaces what it finds of the kinds given, and counts it.

    kinds: of email, phone, key and ip. region: the country (ISO 3166, `US`) whose phone numbers may stand
    without + and country code. Raises UsageError for an unknown kind or region, MissingExtra for phone
    without the phonenumbers package.
    """

    def __init__(self, kinds: Iterable[str], region: str = "US") -> None:
        wanted = set(kinds)
        unknown = sorted(wanted.difference(KINDS))
        if unknown:
            raise UsageError(f"cannot redact {unknown[0]!r}; choose email, phone, key or ip")
        self.kinds = tuple(kind for kind in KINDS if kind in wanted)
        self.counts = dict.fromkeys(self.kinds, 0)
        self._find: dict[str, Callable[[str], list[Span]]] = {
            "key": find_credentials,
            "email": find_emails,
            "ip": find_addresses,
        }
        self._fewest = 7
        if "phone" in wanted:
            phones = _load_phonenumbers()
            if region not in phones.SUPPORTED_REGIONS:
                raise UsageError(
                    f"{region!r} is no region that phone numbers are known for; write US, DE or GB"
                )
            self._fewest = 10 if phones.country_code_for_region(region) == 1 else 7
            self._find["phone"] = functools.partial(find_phones, region=region)

    def text(self, text: str) -> str:
        """Return the text with what was found replaced; the same object when nothing was found."""
        while True:
            before = text
            for kind in self._possible(text.encode("utf-8", "surrogatepass")):
                spans = self._find[kind](text)
                if spans:
                    self.counts[kind] += len(spans)
                    text = _replaced(text, spans, f"[{kind.upper()}]")
            if text is before:
                return text
            text = _valid_again(before, text)

    def record(self, record: Record, raw: bytes | None) -> Record:
        """Return a record with what was found in its strings replaced; the same object when nothing was.

        raw: the line that the record was read from and still stands for; None when there is none. It is what
        makes a clean record cheap, and gives a new record its integers over 64 bits. Strings at any depth
        are searched, keys are not, nor labels (see `quality.labels`). A string that holds JSON still does.
        Raises Reject (too-deep) beyond what Python can follow.
        """
        if raw is not None and not _ESCAPED.search(raw) and not self._possible(raw):
            return record
        try:
            changed = self._mapping(record, "record")
            if changed is record or raw is None:
                return changed
            exact = reparse_exact(raw, record)
            if exact is record:
                return changed
            counts = dict(self.counts)
            changed = self._mapping(exact, "record")
            self.counts.update(counts)  # seen once
            return changed
        except RecursionError:
            raise Reject("too-deep", "nested deeper than a search can follow") from None

    def _possible(self, raw: bytes) -> list[str]:
        """Return the kinds that may be in the text, or line of JSON without \\u and \\/; never too few."""
        wanted = self.kinds
        possible: list[str] = []
        if wanted == ("email",) and b"@" not in raw:
            return possible
        classes = raw.translate(CLASSES)
        if "key" in wanted and may_hold(raw, classes):
            possible.append("key")
        if "email" in wanted and b"@" in raw:
            possible.append("email")
        if b"0" not in classes:
            return possible
        if "ip" in wanted and (_FOUR.search(classes) or _SIX.search(raw)):
            possible.append("ip")
        if "phone" in wanted and classes.count(b"0") >= 7:
            digits = classes.translate(None, _BETWEEN)
            if b"0" * self._fewest in digits or (b"+" in raw and b"0" * 7 in digits):
                possible.append("phone")
        return possible

    def _value(self, value: Any, place: Place) -> Any:
        if type(value) is str:
            return self.text(value)
        if type(value) is dict:
            return self._mapping(value, place_of(value, place))
        if type(value) is list:
            return self._list(value, place)
        return value

    def _mapping(self, mapping: Record, place: Place) -> Record:
        changed: Record | None = None
        for key, value in mapping.items():
            if is_label(key, place):
                continue
            made = self._value(value, below(key, place))
            if made is not value:
                if changed is None:
                    changed = dict(mapping)
                changed[key] = made
        return mapping if changed is None else changed

    def _list(self, values: list[Any], place: Place) -> list[Any]:
        made = [self._value(value, place) for value in values]
        return made if any(new is not old for new, old in zip(made, values)) else values


def _replaced(text: str, spans: list[Span], name: str) -> str:
    parts: list[str] = []
    done = 0
    for start, end in spans:
        parts += (text[done:start], name)
        done = end
    return "".join(parts) + text[done:]


_STRING_OR_NAME = re.compile(r'"(?:[^"\\]|\\.)*"|(\[(?:EMAIL|PHONE|KEY|IP)\])', re.DOTALL)


def _valid_again(before: str, after: str) -> str:
    """Return a redacted text as JSON if it was JSON: a number that became [PHONE] wants quotes."""
    if not before.lstrip().startswith(("{", "[", '"')) or not _is_json(before) or _is_json(after):
        return after
    return _STRING_OR_NAME.sub(lambda match: f'"{match[1]}"' if match[1] else match[0], after)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


# Email. Local part: ASCII letters, digits and . _ + - ' or letters of another alphabet; of the rest that
# RFC 5322 allows nothing is in use, and it stands between words of prose and code. In Chinese, Japanese and
# Korean no space parts an address from the sentence, so those letters count only before a domain in them.
_LETTER = "A-Za-z0-9\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u1fff"
_CJK = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_CJK_ENDS = (
    "中国|中國|公司|网络|網絡|网址|网站|在线|中文网|商城|商店|移动|香港|台湾|台灣|测试|測試"
    "|みんな|テスト|コム|한국|닷컴|닷넷|com|net|org|cn|tw|hk|jp|kr"
)
_LABEL = f"[{_LETTER}](?:[{_LETTER}-]{{0,61}}[{_LETTER}])?"
_CJK_LABEL = f"[{_LETTER}{_CJK}](?:[{_LETTER}{_CJK}-]{{0,61}}[{_LETTER}{_CJK}])?"
_DOMAIN = re.compile(
    rf"@(?:((?:{_LABEL}\.){{1,8}}(xn--[A-Za-z0-9-]{{2,59}}|(?![0-9])[{_LETTER}]{{2,24}}))(?![{_LETTER}])"
    rf"|((?:{_CJK_LABEL}\.){{1,8}}(?:{_CJK_ENDS})(?![{_LETTER}])))"
)
# One more than the 64 that a name may have: what is longer is none.
_LOCAL = re.compile(f"[{_LETTER}](?:[{_LETTER}_.+'-]{{0,64}})")
_CJK_LOCAL = re.compile(f"[{_LETTER}{_CJK}](?:[{_LETTER}{_CJK}_.+'-]{{0,64}})")
_ESCAPE_LETTER = re.compile(r"u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[nrtbfv0]")
_IN_URL = re.compile(r"://[^\s/?#\"'<>]*$")
# What stands after a dot but ends no domain: files (logo@2x.png), systemd units, attributes of a matrix.
_NO_ENDS = frozenset((
    "png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "css", "scss", "js", "jsx", "ts", "tsx", "json",
    "yaml", "yml", "toml", "txt", "csv", "html", "htm", "xml", "pdf", "gz", "tar", "tgz", "whl", "jar", "exe",
    "dll", "conf", "cfg", "ini", "log", "git", "service", "socket", "timer", "mount", "slice", "shape",
    "dtype", "reshape", "transpose", "ravel", "flatten", "values", "detach", "numpy", "item",
))  # fmt: skip
_COMMON_ENDS = frozenset(("com", "org", "net", "edu", "gov", "io", "co", "cn", "de", "uk", "fr", "jp", "in"))
_NEXT_SENTENCE = re.compile(r"(?<=\.com|\.org|\.net|\.edu)\.[A-Z][a-z]{2,}$")  # "...@gmail.com.Please"
_REMOTES = frozenset(("git", "hg", "svn"))  # git@github.com:owner/name is where a program logs in


def find_emails(text: str) -> list[Span]:
    """Return where email addresses stand, as rising (start, end) that do not overlap.

    An address has a dot in its domain, whose last part is letters: `user@host`, `@mention` and `pkg@1.2.3`
    are none. user@host.org after ssh is one: it names a person as well. git@, hg@ and svn@ are none.
    """
    spans: list[Span] = []
    if "@" not in text:
        return spans
    for match in _DOMAIN.finditer(text):
        at = match.start()
        domain = match[1] or match[3]
        ending = (match[2] or "").lower()
        called = ending not in _COMMON_ENDS and text.startswith("(", match.end())  # A@B.mean(0)
        if ending in _NO_ENDS or called or re.match(r"[0-9]+\.[0-9]", domain):
            continue
        window = text[max(at - 65, spans[-1][1] if spans else 0) : at]
        backwards = (_LOCAL if match[1] else _CJK_LOCAL).match(window[::-1])
        if backwards is None or len(backwards[0]) > 64:
            continue
        local = backwards[0][::-1]
        start = at - len(local)
        if text[start - 1 : start] == "\\":  # \njoe@... in JSON within a string: the n is no name's
            escape = _ESCAPE_LETTER.match(local)
            start += escape.end() if escape else 0
        start += len(text[start:at]) - len(text[start:at].lstrip("._+'-"))
        if (
            start == at
            or text[start:at].lower() in _REMOTES
            or _IN_URL.search(text, max(0, start - 200), start)
        ):
            continue
        sentence = _NEXT_SENTENCE.search(text, at, match.end())
        spans.append((start, sentence.start() if sentence else match.end()))
    return spans


_FOUR = re.compile(rb"\.0{1,3}\.0{1,3}\.0")
_SIX = re.compile(rb":[0-9a-fA-F]{0,4}:")
_DOTS = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")  # a literal first: re jumps to it
_COLONS = re.compile(r":[0-9a-fA-F]{0,4}:")
_START = r"(?:(?<![0-9A-Za-z_.])|(?<=\\[nrtbf]))"
_IPV4 = re.compile(
    _START
    + r"(?<![A-Za-z_]-)(?<![A-Za-z]/)([0-9]{1,3}(?:\.[0-9]{1,3}){3})(?![0-9A-Za-z_]|\.[0-9A-Za-z]|-[A-Za-z])"
)
_IPV6 = re.compile(
    r"(?:(?<![0-9A-Za-z_.:])|(?<=\\[nrtbf]))([23][0-9a-fA-F]{3}(?::[0-9a-fA-F]{0,4}){2,7})(?![0-9A-Za-z_])"
)
_VERSION = re.compile(
    r"(?:\b(?:versions?|ver|releases?|build|revision|rev|firmware|update|upgrade|patch|tag|sections?|sec|chapter|clause"
    r"|article|figure|fig|table|oid)|[<>=~!^]=|[\^~§])[\s:.=#(\"']{0,3}$",
    re.IGNORECASE,
)
_ABOUT_ADDRESSES = re.compile(
    r"\bip|addr|host|server|dns|ping|ssh|network|subnet|gateway|router?\b|port\b|://$|[@\"'`\[]$|地址|\A$",
    re.IGNORECASE,
)
_RESOLVERS = frozenset(("1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9"))


def _is_numbering(text: str, start: int, end: int) -> bool:
    """Tell a version or section from an address: by the word before, or as four small numbers."""
    if _VERSION.search(text, max(0, start - 16), start):
        return True
    written = text[start:end]
    if written in _RESOLVERS or any(len(number) > 1 and int(number) >= 20 for number in written.split(".")):
        return False
    about = _ABOUT_ADDRESSES.search(text, max(0, start - 40), start)
    return not about and not text.startswith(("/", ":"), end)


def find_addresses(text: str) -> list[Span]:
    """Return where globally routable IPv4 and IPv6 addresses stand, as rising (start, end).

    Private, local, multicast and documentation addresses stay, and so do four numbers after a word such as
    version, release or section, after a letter and / or - (Chrome/91.0.44.1), or going on (1.2.3.4.5), and
    four numbers below 20 without a word such as address, server or ping in the 40 characters before.
    """
    import ipaddress

    spans: list[Span] = []
    for dots in _DOTS.finditer(text):
        match = _IPV4.match(text, _back(text, dots.start(), "0123456789", 3))
        if match is None:
            continue
        start, end = match.span(1)
        try:
            found = ipaddress.IPv4Address(match[1])
        except ValueError:
            continue
        if found.is_global and not found.is_multicast and not _is_numbering(text, start, end):
            spans.append((start, end))
    done = 0
    for colons in _COLONS.finditer(text):
        match = _IPV6.match(text, _back(text, colons.start(), "0123456789abcdefABCDEF", 4))
        if match is None or match.start(1) < done:
            continue
        start, done = match.span(1)
        for written in (match[1], match[1].rstrip(":")):
            try:
                if ipaddress.IPv6Address(written).is_global:
                    spans.append((start, start + len(written)))
                break
            except ValueError:
                continue
    return sorted(spans)


def _back(text: str, end: int, alphabet: str, size: int) -> int:
    """Return where a run of at most `size` characters of the alphabet that ends at `end` begins."""
    begin = max(0, end - size)
    return begin + len(text[begin:end].rstrip(alphabet))


# Phone numbers: between two digits at most three of these.
_BETWEEN = b" .-()/" + bytes(sorted(set("\u00a0\u2010\u2011\u2012\u2013\u202f".encode())))
_GAP = "[ .()/\u00a0\u2010-\u2013\u202f-]"
_PHONE = re.compile(  # the boundary after the first character, so that re jumps to one
    r"[+(0-9](?:(?<![0-9A-Za-z_.,:$€£¥#=*/%^-].)|(?<=tel:.)|(?<=[:=]\+)|(?<=\\[nrtbf].))"
    rf"(?:(?<=[0-9])|(?<=\()[0-9]|(?<=\+)\(?[0-9])(?:{_GAP}{{0,3}}[0-9]){{6,16}}"
    r"(?![0-9A-Za-z_%=*^]|[.,:/-][0-9])"
)
_THREE_THREE_FOUR = re.compile(r"(?:1[ .-])?(?:\([0-9]{3}\) ?|[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4}")
_ABOUT_PHONES = re.compile(
    r"phone|mobile|\bcell|\btel\b|\btel[.:]|telef|\bcall|\bfax|whatsapp|\bdial|\btext(?:ed|ing)?\b|\bsms\b"
    r"|\bnumber is|\breach (?:me|us|him|her|them)|contact|hotline|helpline|电话|電話|手机|传真|拨打",
    re.IGNORECASE,
)


@functools.cache
def _load_phonenumbers() -> Any:
    try:
        import phonenumbers
    except ImportError:
        raise MissingExtra("phonenumbers", "redact") from None
    return phonenumbers


def find_phones(text: str, region: str = "US") -> list[Span]:
    """Return where valid phone numbers stand, as rising (start, end) that do not overlap.

    A number with + may be of any country, one without must be of `region` and grouped as there. Digits in
    one run, or parted by spaces alone, are a number only near a word such as call, phone or fax. Near one,
    a number with + or an American one need not be in use: examples are full of 555-123-4567.
    Raises MissingExtra without the phonenumbers package (whose metadata decides what is valid).
    """
    phones = _load_phonenumbers()
    american = phones.country_code_for_region(region) == 1
    spans: list[Span] = []
    for match in _PHONE.finditer(text):
        start, end = match.span()
        written = match[0]
        about = functools.partial(_is_about_phones, text, start, end)
        anywhere = written[0] == "+"
        leniency = phones.Leniency.VALID if anywhere else phones.Leniency.STRICT_GROUPING
        if (anywhere or (american and _THREE_THREE_FOUR.fullmatch(written))) and about():
            leniency = phones.Leniency.POSSIBLE
        spans.extend(
            (start + found.start + _is_open(found.raw_string), start + found.end)
            for found in phones.PhoneNumberMatcher(written, region, leniency, 3)
            if anywhere or not found.raw_string.replace(" ", "").isdigit() or about()
        )
    return spans


def _is_open(written: str) -> bool:
    """Tell a bracket that the number stands in from one around an area code."""
    return written[0] == "(" and ")" not in written


def _is_about_phones(text: str, start: int, end: int) -> bool:
    return _ABOUT_PHONES.search(text, max(0, start - 60), min(len(text), end + 20)) is not None


__all__ = ["KINDS", "Redactor", "find_addresses", "find_emails", "find_phones"]
