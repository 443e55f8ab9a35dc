"""Redaction: what is found, what stays, that the screens miss nothing, that twice is once."""

from __future__ import annotations

import copy
import json
import re
import string
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.core.errors import MissingExtra, UsageError
from bptools.core.records import Reject
from bptools.quality import redact
from bptools.quality.credentials import FORMS, find_credentials, looks_random
from bptools.quality.redact import KINDS, Redactor

pytest.importorskip("phonenumbers")


def drawn(size: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """Return a fixed string that looks drawn by chance; written out it would alarm secret scanners."""
    state, chars = 12345, []
    for _ in range(size):
        state = (state * 1103515245 + 12345) % 2**31
        chars.append(alphabet[(state >> 8) % len(alphabet)])
    return "".join(chars)


HEX = "0123456789abcdef"
BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
PEM = (
    f"-----BEGIN RSA PRIVATE KEY-----\n{drawn(64)}\n{drawn(64)}\n{drawn(20)}==\n-----END RSA PRIVATE KEY-----"
)

# Each holds what must go between ⟦ and ⟧.
EMAILS = [
    "Write to ⟦jane.doe@example.com⟧.",
    "(⟦jane@example.co.uk⟧)",
    "<⟦jane+lists@mail.example.org⟧>",
    "mailto:⟦jane@example.com⟧?subject=hi",
    "email=⟦j_d-3@example.io⟧&x=1",
    "'⟦o'brien@example.ie⟧'",
    "**⟦jane@example.com⟧**",
    "`⟦jane@example.com⟧`",
    "⟦123456@qq.com⟧",
    "⟦jane@163.com⟧",
    "邮箱是⟦jane@example.com⟧，谢谢",
    "请发送到⟦jane@example.cn⟧或者致电",
    "⟦老板@公司.com⟧",
    "⟦用户@例子.中国⟧",
    "⟦jürgen@bücher.de⟧",
    "⟦почта@пример.рф⟧",
    "⟦jane@xn--bcher-kva.xn--p1ai⟧",
    "⟦a@b.com⟧,⟦c@d.org⟧;⟦e@f.net⟧",
    "_⟦jane@example.com⟧_",
    "mine is ⟦jane@example.com⟧.Please reply",
    "⟦jane@example.com⟧(Jane)",
    "ssh ⟦jane@build.example.org⟧ uptime",
    '{"a": "x\\n⟦jane@example.com⟧\\n"}',
    "JANE: ⟦JANE@EXAMPLE.COM⟧!",
]
NO_EMAILS = [
    "ssh root@build uptime",
    "git clone git@github.com:owner/name.git",
    "ask @jane or @john.doe",
    "npm install lodash@4.17.21 react@18.0.0-rc.1 @types/node@20.1.2",
    "@app.route('/')\ndef index(): ...",
    "y = A@B.T + x@w.reshape(3)",
    "y = x@w.softmax(dim=1)",
    "logo@2x.png",
    "systemctl status user@1000.service",
    "https://medium.com/@jane.doe/a-story",
    "postgres://jane@db.example.com:5432/shop",
    "uses: actions/checkout@v3",
    "r'[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+'",
    "@example.com",
    "jane@",
    "jane@localhost",
    "HEAD@{1.day.ago}",
]
PHONES = [
    "Call ⟦415-555-2671⟧ now",
    "It is ⟦(212) 769-5100⟧.",
    "⟦(415)863-2911⟧",
    "the hotline (⟦1-800-273-8255⟧) is free",
    "⟦+1 415-555-2671⟧",
    "⟦+14155552671⟧",
    "⟦+44 20 7517 1100⟧",
    "⟦+33 1 84 82 49 09⟧",
    "⟦+49 (0)30 901820⟧",
    "⟦+86 138 0013 8000⟧",
    "⟦1-800-222-1222⟧",
    "Mobile: ⟦+44 7700 900123⟧",
    "⟦415.863.2911⟧",
    "tel:⟦+1-415-863-2911⟧",
    "my phone is ⟦4158632911⟧",
    "Phone: ⟦415 863 2911⟧",
    "Phone: ⟦(555) 123-4567⟧",
    "他的电话号码是⟦123-456-7890⟧，请拨打",
    "⟦415‑863‑2911⟧",
    '{"a": "x\\n⟦415-863-2911⟧"}',
]
NO_PHONES = [
    "order 4158632911 shipped",
    "2019-01-02 and 2020-03-04",
    "from 1998-2003 and 2004-2010",
    "ISBN 978-3-16-148410-0",
    "ISBN 0-306-40615-2",
    "12500+21000-6300=<<12500+21000-6300=27200>>27200",
    "3600000000000 + 62426244000 + 198472480000",
    "unix time 1633972405",
    "192.168.100.104",
    "600 700 800 900 1000",
    "pi is 3.14159265358979",
    "1111101000",
    "4111 1111 1111 1111",
    "$2,560,000,000",
    "commit 8327451988be0d",
    "37.3362725,-121.8244116",
    "10:30-11:45, room 4158",
    "123-45-6789",
    "10.1109/5.771073",
    "+5 to 10, -3 to +12",
]
ADDRESSES = [
    "ping ⟦8.8.8.8⟧",
    "from ⟦93.184.216.34⟧ port 22",
    "http://⟦93.184.216.34⟧:8080/",
    "ip=⟦52.95.110.1⟧;",
    "Server ⟦12.34.56.78⟧:8080",
    "<ip>⟦12.34.56.78⟧</ip>",
    "nets ⟦157.240.0.0⟧/16, ⟦31.13.24.0⟧/21",
    "addresses ⟦93.184.216.34⟧-⟦93.184.216.40⟧",
    "The server is ⟦5.9.10.11⟧.",
    "⟦2606:4700:4700::1111⟧",
    "[⟦2a00:1450:4001:82f::200e⟧]:443",
    "⟦2001:4860:4860:0:0:0:0:8888⟧, and",
    "see ⟦2606:4700::⟧/32",
    "at ⟦2606:4700:4700::1111⟧: up",
]
NO_ADDRESSES = [
    "127.0.0.1 10.0.0.5 172.16.3.4 192.168.1.1 169.254.1.1 100.64.0.1",
    "192.0.2.1 198.51.100.7 203.0.113.9",
    "0.0.0.0 255.255.255.0 224.0.0.251",
    "version 1.2.3.4 and v1.2.3.4",
    "Fixes since 1.5.5.5",
    "Version: 52.95.110.1",
    "Chrome/91.0.44.124 Safari/53.7.3.6",
    "pip install x==21.4.30.2",
    "lib-21.4.30.2.tar.gz",
    "see section 4.1.2.30",
    "1.2.3.4.5",
    "300.1.1.1",
    "2.20.1.160.g5676107ecd",
    "2001:db8::1 fe80::1 ::1 fd00::1",
    "at 10:20:30:40",
    "std::vector::iterator",
    "22:33:44:55:66:77",
]
KEYS = [
    f"⟦sk-{drawn(48)}⟧",
    f"⟦sk-proj-{drawn(74)}_{drawn(40)}-{drawn(40)}⟧",
    f"⟦sk-ant-api03-{drawn(90)}-AA⟧",
    f"⟦sk-or-v1-{drawn(64, HEX)}⟧",
    f"token ⟦ghp_{drawn(36)}⟧.",
    f"⟦github_pat_{drawn(22)}_{drawn(59)}⟧",
    f"https://oauth2:⟦glpat-{drawn(20)}⟧@gitlab.example.com/a/b",
    f"id ⟦AKIA{drawn(16, BASE32)}⟧",
    f"aws_secret_access_key = ⟦{drawn(18)}/{drawn(10)}+{drawn(10)}⟧",
    f"⟦AIza{drawn(35)}⟧",
    f"⟦xoxb-{drawn(12, '0123456789')}-{drawn(12, '0123456789')}-{drawn(24)}⟧",
    f"https://⟦hooks.slack.com/services/T{drawn(8, BASE32)}/B{drawn(8, BASE32)}/{drawn(24)}⟧",
    f"⟦sk_live_{drawn(24)}⟧",
    f"⟦hf_{drawn(34, string.ascii_letters)}⟧",
    f"//registry.npmjs.org/:_authToken=⟦npm_{drawn(36)}⟧",
    f"⟦pypi-AgEIcHlwaS5vcmc{drawn(70)}⟧",
    f"⟦SG.{drawn(22)}.{drawn(43)}⟧",
    f"⟦SK{drawn(32, HEX)}⟧",
    f"bot ⟦110201543:AA{drawn(33)}⟧",
    f"api.telegram.org/bot⟦110201543:AA{drawn(33)}⟧/getMe",
    f"⟦eyJhbGciOiJIUzI1NiJ9.eyJ{drawn(40)}.{drawn(43)}⟧",
    f"AccountName=x;AccountKey=⟦{drawn(86)}==⟧;EndpointSuffix=y",
    f"⟦{PEM}⟧",
    f"⟦{PEM.replace('RSA ', 'OPENSSH ')}⟧ end",
    json.dumps({"pem": f"⟦{PEM}⟧"}, ensure_ascii=False),
    "postgres://jane:⟦hunter2!⟧@db.example.com/shop",
    "https://jane:⟦s3cr3tw0rd⟧@93.184.216.34/",
    f'api_key = "⟦{drawn(32)}⟧"',
    f'{{"token": "⟦{drawn(40, HEX)}⟧"}}',
    f'{{\\"apiKey\\": \\"⟦{drawn(32)}⟧\\"}}',
    f"export SERVICE_SECRET=⟦{drawn(32, HEX)}⟧",
    f"GET /x?access_token=⟦{drawn(32)}⟧&page=2",
    f"Authorization: Bearer ⟦{drawn(40)}⟧",
    "password = '⟦P@ssw0rd1⟧'",
    'DB_PASSWORD: "⟦aB3#fG7!kL9@⟧"',
    "Your new password is: ⟦aB3#fG7!kL9@⟧.",
    "您的新密码是：⟦aB3#fG6&kL9@⟧。请保存",
    f"a\\n⟦ghp_{drawn(36)}⟧\\nb",
]
NO_KEYS = [
    "password = input()",
    "password = getpass.getpass('Password: ')",
    'token = "your_token_here"',
    "api_key = 'YOUR_API_KEY'",
    "api_key = os.environ['API_KEY']",
    "const apiKey = process.env.API_KEY2;",
    'password: "mypassword123"',
    "token = tokenizer.encode(text)",
    "max_key = find_max_key(input_dict)",
    "token: ${{ secrets.GITHUB_TOKEN }}",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "AKIAXXXXXXXXXXXXXXXX",
    "task-oriented risk-adjusted desk-top",
    "sk-your-key-goes-here",
    "sk-learn-intelex-and-other-long-names-of-packages-2024",
    f"pk_live_{drawn(24)}",
    f"git show {drawn(40, HEX)}",
    f"sha256:{drawn(64, HEX)}",
    "postgres://user:password@localhost/db",
    "mysql://root:root@localhost",
    "redis://:${REDIS_PASSWORD}@cache:6379",
    "https://user:<token>@example.com",
    "http://localhost:3000/@jane",
    "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
    "-----BEGIN CERTIFICATE-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END CERTIFICATE-----",
    "the secret: patience, and the key: practice",
    "keyword: childhood. keys = keys_to_csv($assoc_array);",
    "password: must contain 8 characters",
    "access_token_v2 = self.config.access_token_v2",
    "secret_key = 'development-only-key'",
    "token_type: application_credentials_v2",
    "hf_hub_download and hf_transfer",
    "password_hash($password, PASSWORD_DEFAULT)",
]


def marked(kind: str, marked_text: str) -> tuple[str, str, int]:
    text = marked_text.replace("⟦", "").replace("⟧", "")
    wanted = re.sub("⟦.*?⟧", f"[{kind.upper()}]", marked_text, flags=re.DOTALL)
    return text, wanted, marked_text.count("⟦")


FOUND = {"email": EMAILS, "phone": PHONES, "ip": ADDRESSES, "key": KEYS}
LEFT = {"email": NO_EMAILS, "phone": NO_PHONES, "ip": NO_ADDRESSES, "key": NO_KEYS}


@pytest.mark.parametrize(("kind", "example"), [(kind, text) for kind in FOUND for text in FOUND[kind]])
def test_planted_ones_are_found_whole(kind: str, example: str) -> None:
    text, wanted, count = marked(kind, example)
    redactor = Redactor([kind])
    assert redactor.text(text) == wanted
    assert redactor.counts == {kind: count}
    assert redactor.text(wanted) is wanted
    assert redactor.counts == {kind: count}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind in LEFT for text in LEFT[kind]])
def test_near_misses_stay_the_same_object(kind: str, text: str) -> None:
    redactor = Redactor([kind])
    assert redactor.text(text) is text
    assert redactor.counts == {kind: 0}


EVERYTHING = [marked("x", text)[0] for texts in FOUND.values() for text in texts]
EVERYTHING += [text for texts in LEFT.values() for text in texts]


class Unscreened(Redactor):
    """Searches everything."""

    def _possible(self, raw: bytes) -> list[str]:
        return list(self.kinds)


def pieces() -> st.SearchStrategy[str]:
    """Texts of what redaction looks at: examples, parts of examples, the characters that matter."""
    parts = st.one_of(
        st.sampled_from(EVERYTHING),
        st.builds(
            lambda text, a, b: text[a : a + b],
            st.sampled_from(EVERYTHING),
            st.integers(0, 40),
            st.integers(1, 60),
        ),
        st.text("0123456789abcfTK@.:-_/\\\"'[]()+ =\n\u00a0é中nu", max_size=12),
        st.text(max_size=5),
    )
    return st.lists(parts, max_size=6).map("".join)


@settings(max_examples=400, deadline=None)
@given(pieces(), st.sampled_from(["US", "DE"]))
def test_the_screen_misses_nothing_and_twice_is_once(text: str, region: str) -> None:
    redactor, searcher = Redactor(KINDS, region), Unscreened(KINDS, region)
    redacted = redactor.text(text)
    assert redacted == searcher.text(text)
    assert redactor.counts == searcher.counts
    assert (redacted is text) == (not any(redactor.counts.values()))
    again = Redactor(KINDS, region)
    assert again.text(redacted) is redacted


@settings(max_examples=300, deadline=None)
@given(pieces(), st.booleans(), st.booleans(), st.sampled_from([*KINDS, None]))
def test_the_screen_of_a_line_misses_nothing(
    text: str, ascii_only: bool, slashes: bool, kind: str | None
) -> None:
    record = {"messages": [{"role": "user", "content": text}], "n": [1, {"deep": [text, 2]}]}
    line = json.dumps(record, ensure_ascii=ascii_only)
    raw = (line.replace("/", "\\/") if slashes else line).encode("utf-8", "surrogatepass")
    kinds = KINDS if kind is None else (kind,)
    redactor, searcher = Redactor(kinds), Redactor(kinds)
    before = copy.deepcopy(record)
    made = redactor.record(record, raw)
    assert made == searcher.record(record, None)
    assert redactor.counts == searcher.counts
    assert record == before
    assert (made is record) == (not any(redactor.counts.values()))


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_goes_in(text: str) -> None:
    assert isinstance(Redactor(KINDS).text(text + "\ud800@"), str)


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.one_of(pieces(), st.integers(), st.none()),
        lambda inner: st.lists(inner) | st.dictionaries(pieces(), inner),
        max_leaves=4,
    )
)
def test_json_in_a_string_stays_json(value: object) -> None:
    for text in (
        json.dumps({"a": value}),
        json.dumps([value], ensure_ascii=False),
        json.dumps(json.dumps({"a": value})),
    ):
        json.loads(Redactor(KINDS).text(text))


def test_a_number_in_arguments_becomes_a_string() -> None:
    text = '{"phone": 4158632911, "call": +1}'
    assert Redactor(["phone"]).text('{"phone": 4158632911, "n": 1}') == '{"phone": "[PHONE]", "n": 1}'
    assert Redactor(["phone"]).text(text) == '{"phone": [PHONE], "call": +1}'  # was no JSON before


def test_labels_and_keys_stay_and_depth_is_followed() -> None:
    mail = "jane@example.com"
    record: dict[str, Any] = {
        "id": mail, "user_id": mail, "bp": {"note": mail}, mail: 1,
        "messages": [{"role": mail, "content": [{"type": "text", "text": mail}], "bp": mail}],
        "identity": mail, "n": 2**70, "none": None, "yes": True,
    }  # fmt: skip
    made = Redactor(["email"]).record(record, None)
    assert made == {
        **record,
        "messages": [{"role": mail, "content": [{"type": "text", "text": "[EMAIL]"}], "bp": "[EMAIL]"}],
        "identity": "[EMAIL]",
    }
    assert list(made) == list(record)


def test_what_is_called_like_a_label_elsewhere_is_redacted() -> None:
    mail, gone = "jane@example.com", "[EMAIL]"
    names = ("from", "to", "role", "type", "weight", "id", "user_id")

    def record(said: str) -> dict[str, Any]:
        arguments = dict.fromkeys(names, said)
        call = {"id": mail, "type": "function", "function": {"name": "send", "arguments": arguments}}
        part = {"type": "tool_use", "id": mail, "input": {"from": said, "id": said}}
        answer = {
            "role": "assistant",
            "content": [part],
            "tool_calls": [call],
            "id": mail,
            "meta": {"id": said},
        }
        return {
            "id": mail, "from": said, "type": said, "meta": {"author_id": said}, "mails": [{"from": said, "text": said}],
            "messages": [answer, {"role": "tool", "tool_call_id": mail, "content": {"id": said, "from": said}}],
            "input": {"conversations": [{"from": mail, "value": said, "weight": mail}]},
            "answers": [{"name": "send", "arguments": {"message": {"from": said, "value": said}}}],
        }  # fmt: skip

    assert Redactor(["email"]).record(record(mail), None) == record(gone)


def test_long_integers_come_from_the_line() -> None:
    raw = b'{"text": "jane@example.com", "n": 123456789012345678901234567890}\n'
    redactor = Redactor(["email"])
    made = redactor.record(orjson.loads(raw), raw)
    assert made == {"text": "[EMAIL]", "n": 123456789012345678901234567890}
    assert redactor.counts == {"email": 1}


def test_an_escaped_line_is_searched() -> None:
    raw = b'{"text": "jane\\u0040example.com"}\n'
    assert Redactor(["email"]).record(orjson.loads(raw), raw) == {"text": "[EMAIL]"}


def test_all_kinds_together() -> None:
    text = "https://jane:hunter2!@93.184.216.34/ or jane@example.com, call 415-863-2911"
    redactor = Redactor(["phone", "ip", "email", "key"])
    assert redactor.text(text) == "https://jane:[KEY]@[IP]/ or [EMAIL], call [PHONE]"
    assert redactor.counts == {"key": 1, "email": 1, "ip": 1, "phone": 1}


def test_a_region_reads_its_own_numbers() -> None:
    assert Redactor(["phone"], "DE").text("Tel. 030 901820") == "Tel. [PHONE]"
    text = "Tel. 030 901820"
    assert Redactor(["phone"], "US").text(text) is text


def test_unknown_kinds_and_regions_are_refused() -> None:
    with pytest.raises(UsageError, match="'name'"):
        Redactor(["email", "name"])
    with pytest.raises(UsageError, match="'XX'"):
        Redactor(["phone"], "XX")
    assert Redactor(["email"], "XX").text("a@b.com") == "[EMAIL]"


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "phonenumbers", None)
    redact._load_phonenumbers.cache_clear()
    try:
        Redactor(["email", "key", "ip"])
        with pytest.raises(MissingExtra, match=r"phonenumbers.*bptools\[redact\]"):
            Redactor(["phone"])
    finally:
        redact._load_phonenumbers.cache_clear()


def test_too_deep_is_a_reject() -> None:
    deep: Any = "jane@example.com"
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(Reject, match="too-deep"):
        Redactor(["email"]).record({"a": deep}, None)


@pytest.mark.parametrize("text", ["a" * 50000, "a." * 25000, "@" * 20000, "a@" * 20000, "1-" * 20000, "1.1." * 10000, "password=" * 5000,
                                  "-----BEGIN PRIVATE KEY-----" * 1000, "://a:" * 8000 + "@", "2001:" * 10000, "eyJ" * 15000 + ".", "a@b." * 10000])  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    import time

    begin = time.process_time()
    Unscreened(KINDS).text(text)
    assert time.process_time() - begin < 5  # quadratic searches take minutes


def test_every_form_holds_a_run_that_the_screen_looks_for() -> None:
    """may_hold relies on 20 characters of [A-Za-z0-9_-] in a row."""
    for form in FORMS:
        for prefix in form.prefixes:
            runs = re.findall(r"\[([^\]]+)\]\{(\d+)", form.rest)
            tail = re.search(r"[A-Za-z0-9_-]*$", prefix)
            assert max(int(size) for _, size in runs) + len(tail[0] if tail else "") >= 20


def test_what_looks_random() -> None:
    assert looks_random(drawn(20))
    assert not looks_random("access_token_version_2")
    assert not looks_random(drawn(12))
    assert find_credentials("") == []


def test_a_name_of_more_than_64_characters_is_no_address_and_is_not_cut() -> None:
    redactor = Redactor(["email"])
    assert redactor.text("b" * 64 + "@example.com") == "[EMAIL]"
    for local in ("b" * 65, "b" * 100):
        assert redactor.text(local + "@example.com") == local + "@example.com"
