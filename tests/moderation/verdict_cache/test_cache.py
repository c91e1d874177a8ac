"""Cached verdicts are correct, private and bounded, and a broken cache does no harm."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from taleward.core.errors import BackendError, ConfigurationError, NotErased
from taleward.core.verdict import Finding, Passage, Verdict
from taleward.moderation.judges import Assessment, judge
from taleward.moderation.judges.cached import CachedJudge
from taleward.moderation.judges.cascade import Cascade, UncertaintyBand
from taleward.moderation.judges.fingerprint import judge_fingerprint
from taleward.moderation.judges.llm import LLMJudge
from taleward.moderation.policies.load import load_policy
from taleward.moderation.verdict_cache.cache import VerdictCache
from taleward.moderation.verdict_cache.encrypted_entry import VerdictEntry
from taleward.testing import FakeJudge

SECRET = "Zacharias Quill lives behind the bad mill."


def without_times(verdict: Verdict) -> Verdict:
    return verdict.model_copy(update={"latency_s": 0.0, "cost_usd": None, "cached": False})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "verdicts.db"


@pytest.mark.parametrize("text", ["all is well", SECRET])
def test_the_second_verdict_is_the_first_and_marked_as_cached(file: Path, text: str) -> None:
    inner = FakeJudge()
    cached = CachedJudge(inner, file)
    first, second = cached.invoke(text), cached.invoke(text)
    assert (first.cached, second.cached, len(inner.judged_texts)) == (False, True, 1)
    assert without_times(first) == without_times(second)
    assert second.cost_usd == 0.0
    assert asyncio.run(cached.ainvoke(text)).cached
    assert CachedJudge(FakeJudge(), file).invoke(text).cached


def test_a_real_judges_verdict_is_restored_completely(file: Path) -> None:
    text = "The men laughed. He stabbed the guard in the throat and blood ran down the wall. Nobody came."
    cached = CachedJudge(judge("lexicon"), file)
    first, second = cached.invoke(text), cached.invoke(text)
    assert first.findings
    assert without_times(first) == without_times(second)


def test_context_policy_band_and_settings_are_part_of_the_key(file: Path) -> None:
    inner = FakeJudge()
    cached = CachedJudge(inner, file)
    cached.invoke(Passage(text="one", context="before"))
    assert not cached.invoke("one").cached
    assert not cached.invoke(Passage(text="one", context="else")).cached
    kids = load_policy("kids")
    other = judge("lexicon", policy=kids.model_copy(update={"description": "changed, with the same version"}))
    keys = [
        judge_fingerprint(judge("lexicon")),
        judge_fingerprint(judge("lexicon", band="3-5")),
        judge_fingerprint(judge("lexicon", policy="teen", band="13-15")),
        judge_fingerprint(other),
        judge_fingerprint(judge("lexicon"), "2026-11"),
        judge_fingerprint(Cascade([judge("lexicon"), FakeJudge()])),
        judge_fingerprint(Cascade([judge("lexicon"), FakeJudge()], [UncertaintyBand(0.1, 0.9)])),
        *(
            judge_fingerprint(LLMJudge(ChatOpenAI(model="m", base_url=url, api_key=SecretStr("k"), temperature=t)))
            for url in ("http://a/v1", "http://b/v1")
            for t in (0, 1)
        ),
    ]
    assert len(set(keys)) == len(keys)
    assert judge_fingerprint(judge("lexicon")) == judge_fingerprint(judge("lexicon"))
    one, two = (judge_fingerprint(LLMJudge(ChatOpenAI(model="m", api_key=SecretStr(key)))) for key in ("k1", "k2"))
    assert one == two


@pytest.mark.parametrize("outcome", ["abstain", "unparsable", "error"])
def test_only_pass_and_fail_are_cached(file: Path, outcome: str) -> None:
    inner = FakeJudge(lambda _: Assessment.model_validate({"outcome": outcome}))
    cached = CachedJudge(inner, file)
    assert [cached.invoke("x").outcome, cached.invoke("x").outcome] == [outcome, outcome]
    assert len(inner.judged_texts) == 2
    assert len(cached.cache) == 0


def test_no_word_of_a_text_is_on_disk(file: Path) -> None:
    def assess(passage: Passage) -> Assessment:
        start = passage.text.find("mill")
        finding = Finding(
            category="violence",
            severity="mild",
            quote="mill",
            start=start,
            end=start + 4,
            rationale="says where Zacharias Quill is living, with zacharias' mill",
        )
        return Assessment(findings=(finding,), detail="Quill, known from Grandfather's tale, as Mia dwells nearby")

    cached = CachedJudge(FakeJudge(assess), file)
    passage = Passage(text=SECRET, context="Grandfather told this.")
    first, second = cached.invoke(passage), cached.invoke(passage)
    assert second.cached
    assert second.findings[0].quote == "mill"
    assert second.findings[0].rationale == first.findings[0].rationale
    assert second.detail == first.detail
    stored = b"".join(f.read_bytes() for f in file.parent.iterdir())
    for word in (b"Quill", b"mill", b"acharias", b"Grandfather", b"behind", b"living", b"dwells", b"Mia", b"violence"):
        assert word not in stored, word
    assert file.stat().st_mode & 0o077 == 0


def test_forget_deletes_a_texts_verdicts_of_every_judge_and_context(file: Path) -> None:
    cache = VerdictCache(file)
    first, second = CachedJudge(FakeJudge(), cache), CachedJudge(judge("lexicon"), cache)
    first.invoke("one")
    first.invoke(Passage(text="one", context="before"))
    second.invoke("one")
    first.invoke("two")
    assert cache.forget("one") == 3
    assert (first.invoke("one").cached, first.invoke("two").cached) == (False, True)
    assert cache.clear() == 2
    assert len(cache) == 0


def test_expired_and_excess_verdicts_are_deleted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = CachedJudge(FakeJudge(), VerdictCache(file, ttl_s=86_400, max_entries=3))
    for n in range(5):
        cached.invoke(f"text {n}")
    assert len(cached.cache) == 3
    assert [cached.invoke(f"text {n}").cached for n in (4, 3, 2)] == [True, True, True]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_401)
    assert not cached.invoke("text 4").cached
    assert len(cached.cache) == 1
    monkeypatch.setattr(time, "time", lambda: now - 86_400)
    assert not cached.invoke("text 4").cached  # created in the future: the clock was set back
    for ttl_s, max_entries in ((0, 1), (1, 0)):
        with pytest.raises(ConfigurationError, match="ttl_s must be above 0 and max_entries at least 1"):
            VerdictCache(file, ttl_s=ttl_s, max_entries=max_entries)


@pytest.mark.parametrize("damage", ["no database", "a folder", "a changed row", "a lost table"])
def test_a_broken_cache_changes_no_verdict(file: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    inner = FakeJudge()
    cached = CachedJudge(inner, file)
    assert cached.invoke(SECRET).outcome == "fail"
    if damage in ("no database", "a folder"):
        for part in file.parent.iterdir():
            part.unlink()
        file.mkdir() if damage == "a folder" else file.write_bytes(b"this is not a database" * 100)
    else:
        with sqlite3.connect(file) as db:
            change = "UPDATE verdicts SET body = CAST(substr(body, 1, 20) || x'00' || substr(body, 22) AS BLOB)"
            db.execute(change if damage == "a changed row" else "DROP TABLE verdicts")
        db.close()
    with caplog.at_level(logging.WARNING):
        verdicts = [cached.invoke(SECRET) for _ in range(3)]
    assert [a.outcome for a in verdicts] == ["fail"] * 3
    assert not verdicts[0].cached
    assert len(caplog.records) == (0 if damage == "a changed row" else 1)
    if damage == "no database":
        with pytest.raises(BackendError, match="could not be changed"):
            cached.cache.forget(SECRET)


def test_a_deleted_file_is_created_again(file: Path) -> None:
    cached = CachedJudge(FakeJudge(), file)
    cached.invoke("one")
    for part in file.parent.iterdir():
        part.unlink()
    assert [cached.invoke("one").cached, cached.invoke("one").cached] == [False, True]


def test_several_processes_write_at_once(file: Path) -> None:
    code = (
        "import sys\nfrom taleward.moderation.judges import judge\n"
        "from taleward.moderation.judges.cached import CachedJudge\n"
        "j = CachedJudge(judge('lexicon'), sys.argv[1])\n"
        "print(sum(j.invoke(f'The cat {n} sat.').passed for n in range(int(sys.argv[2]), int(sys.argv[2]) + 40)))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(file), str(start)], stdout=subprocess.PIPE, text=True)
        for start in (0, 20, 40)
    ]
    assert [process.communicate()[0].strip() for process in processes] == ["40"] * 3
    assert len(VerdictCache(file)) == 80


def test_a_verdict_with_a_false_quote_is_not_cached() -> None:
    finding = Finding(category="violence", severity="mild", quote="bad", start=0, end=3)
    verdict = Verdict(outcome="fail", judge="j", policy="p@1", band="b", findings=(finding,))
    assert VerdictEntry.from_verdict(verdict, Passage(text="good")) is None


words = st.text(st.sampled_from("aAbĞß1 .'\n"), max_size=12)


@settings(deadline=None, max_examples=100)
@given(words, words, words, words)
def test_an_entry_is_read_with_its_passage_only(text: str, context: str, other: str, remark: str) -> None:
    verdict = Verdict(outcome="pass", judge="j", policy="p@1", band="b", detail=f"remark: {remark}")
    passage = Passage(text=text, context=context)
    entry = VerdictEntry.from_verdict(verdict, passage)
    assert entry is not None
    sealed = entry.seal(passage)
    assert VerdictEntry.unseal(sealed, passage).to_verdict("j", "p@1", "b").detail == verdict.detail
    assert entry.seal(passage)[16:] != sealed[16:]
    assert b"remark" not in sealed
    for wrong in (Passage(text=text + "x", context=context), Passage(text=other, context=context + "x")):
        with pytest.raises(ValueError, match="Invalid JSON"):
            VerdictEntry.unseal(sealed, wrong)


def test_words_that_an_earlier_version_wrote_are_erased(file: Path) -> None:
    file.parent.mkdir()
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE verdicts (key TEXT, text_sha256 TEXT, made REAL, body TEXT, sha256 TEXT)")
        db.execute("INSERT INTO verdicts VALUES ('k', 't', 1, 'where Mia is living', 's')")
    db.close()
    CachedJudge(FakeJudge(), file).invoke("one")
    assert not any(b"living" in part.read_bytes() for part in file.parent.iterdir())


def test_forgetting_says_so_when_another_reader_keeps_the_bytes(file: Path) -> None:
    cache = VerdictCache(file)
    cached = CachedJudge(FakeJudge(), cache)
    cached.invoke("one")
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM verdicts").fetchall()
    with pytest.raises(NotErased, match="keeps their bytes"):
        cache.forget("one")
    reader.close()
    assert cache.forget("one") == 0
