"""Generate `malformed.jsonl`: malformed answers of judges, none of which may release a text.

    python tests/moderation/judges/guard_models/malformed.py

Each rule takes a passing and a failing answer of a family and breaks them in a way that was seen in the field, or in a
similar one. No row is a complete passing answer of any family. Every row is tested with every family, not only with the
one whose answer was broken. `{number}` stands for the random id of the prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODERATION_CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm"),
    *("self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic"),
)
STORY = "Once there was a fox who lived by the sea."


def moderation_result(*, hate: bool) -> dict[str, object]:
    """Return a result of OpenAI's moderation endpoint."""
    flags = {name: hate and name == "hate" for name in MODERATION_CATEGORIES}
    return {"flagged": hate, "categories": flags, "category_scores": {n: 0.9 if f else 0.01 for n, f in flags.items()}}


GOOD = {
    "llama-guard": "safe",
    "shieldgemma": "No",
    "granite-guardian 3.2": "No\n<confidence> High </confidence>",
    "granite-guardian 3.3": "<score> no </score>",
    "granite-guardian 4.1": "<think>\n</think>\n<score> no </score>",
    "qwen3guard": "Safety: Safe\nCategories: None\nRefusal: No",
    "wildguard": "Harmful request: no\nResponse refusal: no\nHarmful response: no",
    "nemotron": "User Safety: safe\nResponse Safety: safe",
    "nemotron 8B": '{"User Safety": "safe", "Response Safety": "safe"}',
    "gpt-oss-safeguard": '{"id": "{number}", "violation": 0, "policy_category": "none", "rule_ids": [], '
    '"confidence": "high", "rationale": "calm"}',
    "any chat model": '{"id": "{number}", "findings": [], "verdict": "pass"}',
    "openai-moderation": json.dumps({"results": [moderation_result(hate=False)]}),
}
BAD = {
    "llama-guard": "unsafe\nS1",
    "shieldgemma": "Yes",
    "granite-guardian 3.2": "Yes\n<confidence> High </confidence>",
    "granite-guardian 3.3": "<score> yes </score>",
    "granite-guardian 4.1": "<think>\n</think>\n<score> yes </score>",
    "qwen3guard": "Safety: Unsafe\nCategories: Violent\nRefusal: No",
    "wildguard": "Harmful request: no\nResponse refusal: no\nHarmful response: yes",
    "nemotron": "User Safety: safe\nResponse Safety: unsafe\nSafety Categories: Violence",
    "nemotron 8B": '{"User Safety": "safe", "Response Safety": "unsafe", "Safety Categories": "Violence"}',
    "gpt-oss-safeguard": '{"id": "{number}", "violation": 1, "policy_category": "violence", "rule_ids": ["violence"], '
    '"confidence": "high", "rationale": "a blow"}',
    "any chat model": '{"id": "{number}", "findings": [{"category": "violence", "severity": "severe", "quote": "fox", '
    '"rationale": "a blow"}], "verdict": "fail"}',
    "openai-moderation": json.dumps({"results": [moderation_result(hate=True)]}),
}
PASSING = {
    *GOOD.values(),
    "Safety: Safe\nCategories: None",
    "Safety: Safe\nCategories: None\nRefusal: Yes",
    "User Safety: safe",
    "Response Safety: safe",
    '{"User Safety": "safe"}',
    '{"Response Safety": "safe"}',
    "Harmful request: no\nResponse refusal: n/a\nHarmful response: n/a",
}
"""Complete answers that pass in some family or mode; no row is one of them."""

SEEN = [
    *("", " ", "\n\n", "null", "None", "N/A", "[]", "{}", "0", "1", "true", "false", "pass", "ok", "okay", "fine", "?"),
    *("Not safe.", "not safe", "safe unsafe", "unsafe safe", "No, this is unsafe and must be blocked", "S10", "S1,S10"),
    *("I cannot assess this.", "I'm sorry, but I can't help with that.", "unsafe", "unsafe\ns1,s10", "No_of_turn>"),
    *(
        "safe\nS1",
        "safe\nS10,S11",
        "unsafe\nS15",
        "unsafe\nS1,",
        "unsafe S1",
        "safe?",
        "safe!",
        "safe.",
        "safe;",
        "safe,",
    ),
    *(
        "Yes No",
        "No Yes",
        "Yes/No",
        "No/Yes",
        "No.",
        "No,",
        "No!",
        "Nope",
        "no way",
        "Nothing to report",
        "Now",
        "Not sure",
    ),
    *("Maybe", "Unclear", "The text is safe.", "It is safe for children.", "This is not unsafe.", "harmless", "BENIGN"),
    *("Safety: Safe", "Safety: Safe\nSafety: Unsafe", "Categories: None", "Refusal: No", "Safety:", "Safety: None"),
    *(
        "Safety: Safe\nCategories: Violent",
        "Safety: Unsafe\nCategories: None",
        "Safety: Controversial\nCategories: None",
    ),
    *("Safety: Safe\nCategories: Violent\nRefusal: No", "Safety: Safe\nCategories: None, Violent\nRefusal: No"),
    *(
        "<score> no",
        "no </score>",
        "<score></score>",
        "<score> No </score>",
        "<score> none </score>",
        "<score>n o</score>",
    ),
    *("<score> no </score><score> yes </score>", "<score> yes </score><score> no </score>", "<score> no/yes </score>"),
    *(
        "<think><score> no </score>",
        "<think><score> yes </score></think><score> no </score>",
        "</think><score> no </score>",
    ),
    *("<think>a</think><think>b</think><score> no </score>", "<score> no </score></think>", "<think>\n</think>\n"),
    *("User Safety: safe\nResponse Safety:", "Response Safety: safe\nResponse Safety: unsafe", "Response Safety: Safe"),
    *("Response Safety: unsafe\nResponse Safety: safe", "User Safety: safe\nUser Safety: safe\nResponse Safety: safe"),
    *("Response Safety: safe\nSafety Categories: Violence", "Response Safety: safe\nUser Safety: safe", "safe\nsafe"),
    *(
        '{"Response Safety": "unsafe", "Response Safety": "safe"}',
        '{"Response Safety": null}',
        '{"Response Safety": true}',
    ),
    *(
        '{"Response Safety": "Safe"}',
        '{"response safety": "safe"}',
        '{"Response Safety": "safe", "Safety Categories": ""}',
    ),
    *(
        "Harmful response: no",
        "Harmful request: no\nHarmful response: no",
        "Harmful response: no\nHarmful response: yes",
    ),
    *("Harmful request: no\nResponse refusal: n/a\nHarmful response: no", "Harmful request: no\nResponse refusal: no"),
    *("Harmful request: n/a\nResponse refusal: no\nHarmful response: no", "Harmful request: yes\nHarmful response: no"),
    *(
        '{"violation": 0}',
        '{"violation": false}',
        '{"verdict": "pass"}',
        '{"safe": true}',
        '{"flagged": false}',
        '["safe"]',
    ),
    *(
        '{"results": []}',
        '{"results": [{"flagged": false}]}',
        '{"results": [{}, {}]}',
        '{"error": {"message": "busy"}}',
    ),
]
OTHER_LANGUAGES = [
    *(
        "sicher",
        "nicht sicher",
        "unsicher",
        "Nein",
        "nein",
        "sûr",
        "pas sûr",
        "Non",
        "seguro",
        "inseguro",
        "no es seguro",
    ),
    *("Não", "não seguro", "sicuro", "non sicuro", "veilig", "onveilig", "Nee", "säker", "Nej", "trygg", "turvallinen"),
    *(
        "Ei",
        "bezpieczny",
        "niebezpieczny",
        "Nie",
        "безопасно",
        "небезопасно",
        "Нет",
        "нет",
        "безпечно",
        "Ні",
        "güvenli",
    ),
    *(
        "güvenli değil",
        "Hayır",
        "ασφαλές",
        "Όχι",
        "安全",
        "不安全",
        "否",
        "没有",
        "安全です",
        "安全ではない",
        "いいえ",
        "안전",
        "안전하지 않음",
    ),
    *(
        "아니요",
        "آمن",
        "غير آمن",
        "لا",
        "בטוח",
        "לא",
        "सुरक्षित",
        "असुरक्षित",
        "नहीं",
        "ปลอดภัย",
        "ไม่",
        "an toàn",
        "Không",
        "aman",
        "Tidak",
    ),
    *("salama", "Hapana", "biztonságos", "Nem", "bezpečné", "Ne", "sigur", "Nu", "sikker", "öruggt", "Nei", "segur"),
    *("Sicherheit: Sicher\nKategorien: Keine\nAblehnung: Nein", "Sécurité : Sûr\nCatégories : Aucune\nRefus : Non"),
    *(
        "安全性：安全\n类别：无\n拒绝：否",
        "Safety: 安全\nCategories: None\nRefusal: No",
        "Safety: Safe\nCategories: 无\nRefusal: No",
    ),
    *(
        "Безопасность: Безопасно\nКатегории: Нет",
        "<score> nein </score>",
        "<score> non </score>",
        "<score> 否 </score>",
    ),
]
CONTROL = [
    "<|eot_id|>",
    "<|im_end|>",
    "<end_of_turn>",
    "</s>",
    "<eos>",
    "<|end_of_text|>",
    "<|return|>",
    "<|end|>",
    "<pad>",
]
LOOK_ALIKES = str.maketrans({"a": "а", "e": "е", "o": "о", "S": "Ѕ", "N": "Ν", "s": "ѕ"})


def break_answer(good: str, bad: str) -> Iterator[tuple[str, str]]:
    """Yield a rule and an answer for each way to break a family's answers."""
    for before in ("Not ", "not ", "Never ", "It is not true: ", "un", "Un", "NOT\n", "No: "):
        yield "negated", before + good
    for after in (" - not really.", " is wrong", " (not)", "n't", " ... NOT!", "\nNo, wait."):
        yield "negated", good + after
    for between in ("\n", " ", "\n\n", " or ", "; ", "\n---\n"):
        yield "contradictory", good + between + bad
        yield "contradictory", bad + between + good
    for cut in sorted({max(1, len(good) * k // 8) for k in range(8)} | {len(good) - 1}):
        yield "truncated", good[:cut]
    for cut in sorted({len(good) * k // 8 for k in range(1, 8)}):
        yield "truncated", good[cut:]
    for between in ("\n", "\n\n", " ", " -> "):
        yield "echoed", STORY + between + good
        yield "echoed", good + between + STORY
    yield "echoed", f"The text says '{good}'."
    yield "echoed", f"{STORY} {good}\n{bad}"
    for opened, closed in (
        *(("```\n", "\n```"), ("```json\n", "\n```"), ("**", "**"), ("`", "`"), ("> ", ""), ("- ", ""), ("# ", "")),
        *(("1. ", ""), ("| ", " |"), ("*", "*"), ('"', '"'), ("'", "'"), ("(", ")"), ("<b>", "</b>"), ("[", "]")),
    ):
        yield "wrapped", opened + good + closed
    for before in ("Sure! ", "Answer: ", "Verdict: ", "The answer is ", "assistant\n", "Output: ", "My assessment:\n"):
        yield "chatty", before + good
    for after in (" I hope this helps.", "\nLet me know!", "\nExplanation: it is calm.", " :)", "\n(end)"):
        yield "chatty", good + after
    for between in ("", " ", "\n", ","):
        yield "repeated", good + between + good
    for cased in (good.upper(), good.title(), good.swapcase()):
        if cased not in (good, bad):
            yield "cased", cased
    for sign in (
        "\u200b",
        "\u2060",
        "\u202e",
        "\u2066",
        "\ufeff",
        "\u00ad",
        "\u00a0",
        "\u3000",
        "\x00",
        "\x1b[0m",
        "\r",
    ):
        if sign == "\r" and good.startswith("{"):
            continue  # JSON allows it as white space
        yield "disguised", sign + good
        yield "disguised", good[:1] + sign + good[1:]
        yield "disguised", good + sign
    yield "disguised", good.translate(LOOK_ALIKES)
    yield "disguised", "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in good)
    for token in CONTROL:
        yield "injected", token + good
        yield "injected", good + token
        yield "injected", f"{bad}{token}{good}"
    if good.startswith("{"):
        yield from break_json(good, bad)
    else:
        yield "wrapped", json.dumps(good) if good != "No" else '"No"'
        yield "wrapped", json.dumps({"answer": good})
        yield "reordered", "\n".join(reversed(good.split("\n"))) if "\n" in good else good[::-1]


def break_json(good: str, bad: str) -> Iterator[tuple[str, str]]:
    """Yield a rule and an answer for each way to break an answer that is a JSON object."""
    first = good.split(":")[0]
    data = json.loads(good)
    for key in data:
        yield "incomplete", json.dumps({k: v for k, v in data.items() if k != key})
        values: tuple[Any, ...] = (None, True, 2, [], {}, "maybe", ["safe"])
        for value in values:
            if value != data[key] and (key, value) != ("rationale", "maybe"):
                yield "mistyped", json.dumps({**data, key: value})
        yield "doubled", f"{{{json.dumps(key)}: {json.dumps(json.loads(bad)[key])}, {good[1:]}"
        yield "doubled", f"{good[:-1]}, {json.dumps(key)}: {json.dumps(data[key])}}}"
        yield "misspelt", good.replace(json.dumps(key), json.dumps(key + " "))
    yield "incomplete", good.replace("}", "") + "]"
    yield "broken", good[:-1] + ",}"
    yield "broken", good.replace('"', "'")
    yield "broken", good.replace(first, first.replace('"', ""))
    yield "broken", good + " // fine"
    yield "broken", good.replace("}", ', "x": NaN}', 1)
    yield "broken", f"[{good}]"
    yield "broken", good + good
    yield "broken", good + "\n" + bad
    yield "broken", json.dumps(good)
    yield "unasked", good.replace("{number}", "0123456789abcdef") if "{number}" in good else "{" + good


def rows() -> list[dict[str, str]]:
    """Return all rows without duplicate answers."""
    candidates = [("seen", "", answer) for answer in SEEN]
    candidates += [("multilingual", "", answer) for answer in OTHER_LANGUAGES]
    candidates += [
        (rule, family, answer) for family in GOOD for rule, answer in break_answer(GOOD[family], BAD[family])
    ]
    seen: set[str] = set()
    unique = []
    for rule, family, answer in candidates:
        if answer.strip(" \n") in PASSING or answer in seen:
            continue
        seen.add(answer)
        unique.append({"rule": rule, "of": family, "answer": answer})
    return unique


if __name__ == "__main__":
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows())
    Path(__file__).with_name("malformed.jsonl").write_text(lines, encoding="utf-8")
