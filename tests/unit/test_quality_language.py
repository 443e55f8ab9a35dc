"""Language identification: codes, scores, what has no language, and that any text goes in."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.core.errors import MissingExtra, UsageError
from bptools.quality import language
from bptools.quality.finding import Finding
from bptools.quality.language import Identifier, Language

pytest.importorskip("py3langid")

SENTENCES = {
    "en": "The train to the coast leaves at half past seven every morning, and I would rather stay at home.",
    "de": "Der Zug an die Küste fährt jeden Morgen um halb acht ab, und ich bleibe lieber zu Hause.",
    "fr": "Le train pour la côte part chaque matin à sept heures et demie, je préfère rester à la maison.",
    "es": "El tren a la costa sale todas las mañanas a las siete y media, prefiero quedarme en casa.",
    "it": "Il treno per la costa parte ogni mattina alle sette e mezza, preferisco restare a casa.",
    "pt": "O comboio para a costa parte todas as manhãs às sete e meia, mas prefiro ficar em casa.",
    "nl": "De trein naar de kust vertrekt elke ochtend om half acht, maar ik blijf liever thuis.",
    "pl": "Pociąg nad morze odjeżdża codziennie rano o wpół do ósmej, ale wolę zostać w domu.",
    "ru": "Поезд к морю отправляется каждое утро в половине восьмого, но я лучше останусь дома.",
    "uk": "Потяг до моря вирушає щоранку о пів на восьму, але я краще залишуся вдома.",
    "zh": "去海边的火车每天早上七点半出发，不过我宁愿待在家里看书。",
    "ja": "海へ行く電車は毎朝七時半に出発しますが、私は家で本を読みたいです。",
    "ko": "바다로 가는 기차는 매일 아침 일곱 시 반에 출발하지만 저는 집에서 책을 읽고 싶어요.",
    "ar": "يغادر القطار إلى الساحل كل صباح في السابعة والنصف لكنني أفضل البقاء في البيت.",
    "tr": "Sahile giden tren her sabah yedi buçukta kalkıyor, ama ben evde kalmayı tercih ederim.",
    "hi": "समुद्र तट की ट्रेन हर सुबह साढ़े सात बजे निकलती है, पर मैं घर पर रहना पसंद करूँगा।",
    "vi": "Chuyến tàu ra biển khởi hành lúc bảy giờ rưỡi mỗi sáng, nhưng tôi muốn ở nhà đọc sách hơn.",
    "sv": "Tåget till kusten går varje morgon klockan halv åtta, men jag stannar hellre hemma.",
}


@pytest.fixture(scope="module")
def identifier() -> Identifier:
    return Identifier()


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_known(identifier: Identifier, code: str) -> None:
    found, score = identifier.identify(SENTENCES[code])
    assert found == code
    assert 0.65 <= score <= 1
    assert identifier.identify(SENTENCES[code].upper())[0] == code
    assert identifier.identify(SENTENCES[code]) == (found, score)


@pytest.mark.parametrize(
    "text", ["", " \n", "123 + 456 = 579", "...", "😀😀", "\ud800\udfff", "\x00", "<1></1>", "１２３"]
)
def test_no_letters_no_language(identifier: Identifier, text: str) -> None:
    assert identifier.identify(text) == ("", 0.0)


def test_lines_numbers_and_markup_do_not_matter(identifier: Identifier) -> None:
    lines = "\n\n* ".join(SENTENCES["de"].split()) + "\n<b>12,345.67</b> {} [] == 0x00\r\n" * 20
    assert identifier.identify(lines)[0] == "de"
    assert identifier.identify(lines)[1] >= 0.65


def test_of_a_long_text_head_middle_and_end_count(identifier: Identifier) -> None:
    """An English head alone does not make a German text English."""
    text = (SENTENCES["en"] + " ") * 5 + (SENTENCES["de"] + " ") * 200
    assert identifier.identify(text)[0] == "de"
    assert len(text) > 10000


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_goes_in(text: str) -> None:
    identifier = Identifier()
    for given_text in (text, text + "\ud800", text * 300):
        code, score = identifier.identify(given_text)
        assert 0 <= score <= 1
        assert (code == "") == (score == 0.0)
        assert not code or code in identifier.codes


def test_codes_are_iso_639(identifier: Identifier) -> None:
    assert {"en", "de", "zh", "yue", "ki"} <= set(identifier.codes)
    assert not {"wuu", "zxx", "kik"} & set(identifier.codes)
    assert all(code.isalpha() and code.islower() and len(code) in (2, 3) for code in identifier.codes)
    assert len(set(identifier.codes)) == len(identifier.codes) > 100


def test_judge() -> None:
    judge = Language(["EN", "de", "en"]).judge
    assert judge(SENTENCES["en"]) is None
    assert judge(SENTENCES["de"]) is None
    finding = judge(SENTENCES["fr"])
    assert finding is not None
    assert finding.reason == "language"
    assert isinstance(finding.value, dict)
    assert list(finding.value) == ["fr"]
    assert finding.limit == ["en", "de"]
    assert judge("12345") == Finding("language-score", 0.0, 0.65)
    score = Identifier().identify(SENTENCES["en"])[1]
    assert Language(["en"], min_score=score).judge(SENTENCES["en"]) is None
    assert Language(["en"], 1.1).judge(SENTENCES["en"]) == Finding("language-score", score, 1.1)
    assert Language(["en"], 0.0).judge("...") == Finding("language-score", 0.0, 0.0)


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("english", "en"),
        ("en-US", "en"),
        ("zh_CN", "zh"),
        ("jp", "ja"),
        ("wuu", "zh"),
        ("yuee", "yue"),
        ("zxx", ""),
    ],
)
def test_an_unknown_code_names_the_nearest(code: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{meant}" if meant else code):
        Language(["de", code])


def test_no_code_at_all_is_refused() -> None:
    with pytest.raises(UsageError):
        Language([])


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    monkeypatch.setattr(language, "_load_model", language._load_model.__wrapped__)
    with pytest.raises(MissingExtra, match=r"py3langid.*bptools\[language\]"):
        Language(["en"])


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    language._load_model.__wrapped__().classify(SENTENCES["en"])
    assert capfd.readouterr() == ("", "")
