"""`taleward judge` on files, folders, patterns and rows, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from taleward.cli.app import app
from taleward.cli.judge_specs import make_judge, takes_base_url
from taleward.cli.output import judging
from taleward.core.errors import ConfigurationError, InvalidFile, TalewardError, UnknownName
from taleward.core.policy import Policy
from taleward.core.verdict import Finding, Verdict
from taleward.moderation.policies.load import load_policy
from taleward.testing import FakeJudge
from tests.helpers.openai_stub import serving

VIOLENT = "The men laughed. He stabbed the guard in the throat and blood ran down the wall."
GENTLE = "The little rabbit shared her carrot with a mouse. They sat under the old tree."


def run(*args: str, text: bytes | None = None, width: int = 200) -> Any:
    # A console reads the environment only when it is made.
    with pytest.MonkeyPatch.context() as patch:
        for console in ("console._stdout", "console._stderr", "judging._stdout"):
            patch.setattr(f"taleward.cli.output.{console}.width", width)
        done = CliRunner(env={"COLUMNS": str(width)}).invoke(app, ["judge", *args], input=text)
    if isinstance(done.exception, TalewardError):
        raise done.exception
    return done


@pytest.fixture
def folder(in_tmp: Path) -> Path:
    for name, text in {
        "stories/gentle.txt": GENTLE,
        "stories/deep/violent.md": VIOLENT,
        "stories/deep/notes.json": "{}",
        "stories/.git/hidden.txt": VIOLENT,
    }.items():
        (in_tmp / name).parent.mkdir(parents=True, exist_ok=True)
        (in_tmp / name).write_text(text, encoding="utf-8")
    rows = [{"id": 1, "text": GENTLE}, {"id": 2, "text": VIOLENT}, {"id": 3, "text": " "}]
    (in_tmp / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (in_tmp / "rows.csv").write_text(f'story,age\n"{GENTLE}",6\n"{VIOLENT}",7\n', encoding="utf-8")
    return in_tmp


def test_a_folder_gives_a_line_for_each_text_and_a_summary(folder: Path) -> None:
    done = run("stories", "--judge", "lexicon")
    assert done.exit_code == 3
    gentle, violent, summary = done.stdout.splitlines()
    assert violent.split() == ["fail", "stories/deep/violent.md", "violence", "0.97"]
    assert gentle.split() == ["pass", "stories/gentle.txt", "-", "-"]
    assert summary.startswith("2 texts judged by lexicon under kids@1 for ages 6-8 in ")
    assert summary.endswith(": 1 pass, 1 fail")
    assert "stabbed" not in done.output
    assert run("stories/gentle.txt", "stories/gentle.txt", "--judge", "lexicon").exit_code == 0


def test_many_texts_of_all_kinds_are_judged_in_order_and_once(folder: Path) -> None:
    names = ["rows.jsonl", "stories/gentle.txt", "-", "stories", "stories/**/*.md"]
    lines = run(*names, "--judge", "lexicon", text=GENTLE.encode()).stdout.splitlines()
    places = ["rows.jsonl:1", "rows.jsonl:2", "rows.jsonl:3", "stories/gentle.txt", "-", "stories/deep/violent.md"]
    assert [line.split()[1] for line in lines[:-1]] == places
    assert [line.split()[0] for line in lines[:-1]] == ["pass", "fail", "abstain", "pass", "pass", "fail"]
    assert "the text is blank" in lines[2]
    assert lines[-1].endswith(": 3 pass, 2 fail, 1 abstain")


def test_a_line_stays_a_line_in_a_narrow_terminal_and_shows_no_control_characters(in_tmp: Path) -> None:
    name = "a\x1b[2J\nlong name" + "g" * 80 + ".txt"
    (in_tmp / name).write_text(GENTLE)
    done = run(".", "--judge", "lexicon", width=40)
    assert len(done.stdout.splitlines()) == 2
    assert "\x1b" not in done.stdout


def test_rows_have_a_column_and_a_line(folder: Path) -> None:
    done = run("rows.csv", "--column", "story", "--json", "--judge", "lexicon")
    assert done.exit_code == 3
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["source"], first["line"], first["outcome"]) == ("rows.csv", 2, "pass")
    assert (second["line"], second["outcome"]) == (3, "fail")
    assert {VIOLENT[f["start"] : f["end"]] for f in second["findings"]} == {f["quote"] for f in second["findings"]}
    assert "2 texts judged by lexicon" in done.stderr
    with pytest.raises(InvalidFile, match=r"line 2 and 1 more: column 'text' is missing; .* story, age") as caught:
        run("rows.csv", "--judge", "lexicon")
    assert "--column" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "the file has no rows"),
        ('{"text": "a"}\n{"text": 7}\n', "line 2: text: got a int; expected a text"),
        ('["a"]\n', "line 1: is a list; expected a JSON object"),
        ('{"text": "a"\n', "line 1: is not valid JSON"),
    ],
)
def test_wrong_rows_are_errors(in_tmp: Path, content: str, problem: str) -> None:
    (in_tmp / "rows.jsonl").write_text(content)
    with pytest.raises(InvalidFile, match=problem):
        run("rows.jsonl", "--judge", "lexicon")


def test_json_is_an_object_for_one_file_and_lines_for_a_folder_with_one_file(folder: Path) -> None:
    one = run("stories/deep/violent.md", "--json", "--judge", "lexicon")
    assert Verdict.model_validate_json(one.stdout).outcome == "fail"
    assert one.exit_code == 3
    [line] = run("stories/deep", "--json", "--judge", "lexicon").stdout.splitlines()
    row = json.loads(line)
    assert row.pop("source") == "stories/deep/violent.md"
    assert Verdict.model_validate(row).findings == Verdict.model_validate_json(one.stdout).findings


def test_a_long_text_is_not_printed_back(in_tmp: Path) -> None:
    (in_tmp / "long.txt").write_text(f"{GENTLE} " * 60 + VIOLENT + f" {GENTLE}" * 60)
    done = run("long.txt", "--judge", "lexicon")
    assert done.exit_code == 3
    assert "He stabbed the guard in the throat" in done.stdout
    assert len(done.stdout) < 3000
    assert "characters and is not shown as a whole" in done.stderr
    (in_tmp / "long.txt").write_text(f"{GENTLE} " * 60)
    done = run("long.txt", "--judge", "lexicon")
    assert "rabbit" not in done.output
    assert done.stdout.startswith("verdict: pass")


def test_the_most_severe_findings_of_a_long_text_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    text = "A bad day. " * 1000
    starts = range(2, len(text), 11)
    findings = tuple(
        Finding(category="crime", severity="severe" if s > 9000 else "mild", quote="bad", start=s, end=s + 3)
        for s in starts
    )
    everything = Finding(category="hate", severity="severe", quote=text, start=0, end=len(text))
    verdict = Verdict(outcome="fail", judge="j", policy="kids@1", band="6-8", findings=(*findings, everything))
    judging.show_judged_text(verdict, text)
    shown = capsys.readouterr()
    assert shown.out.count("severe") >= 20
    assert "mild" not in shown.out
    assert len(shown.out) < 20_000
    assert "of 1001 findings the 20 most severe are shown" in " ".join(shown.err.split())


def test_windows_line_ends_are_shown_as_line_ends(in_tmp: Path) -> None:
    (in_tmp / "windows.txt").write_bytes(b"\xef\xbb\xbfOne fox.\r\nTwo hens.\r\n")
    (in_tmp / "windows.jsonl").write_text(json.dumps({"text": "One fox.\r\nTwo hens."}))
    for name in ("windows.txt", "windows.jsonl"):
        assert "\ufffd" not in run(name, "--judge", "lexicon").stdout
    assert "│ One fox." in run("windows.txt", "--judge", "lexicon").stdout


def test_other_encodings_are_errors_with_the_byte_and_the_next_step(in_tmp: Path) -> None:
    (in_tmp / "latin page.txt").write_bytes("Le café".encode("latin-1"))
    with pytest.raises(InvalidFile, match=r"latin page.txt is not UTF-8: byte 0xe9 at offset 6\.") as caught:
        run("latin page.txt")
    iconv = "iconv -f LATIN1 -t UTF-8 'latin page.txt' > 'latin page.utf8.txt'"
    assert str(caught.value.hint) == f"If it is Latin-1, add --encoding latin-1, or convert it: {iconv}"
    done = run("latin page.txt", "--encoding", "latin-1", "--judge", "lexicon")
    assert "Le café" in done.stdout
    with pytest.raises(InvalidFile, match="standard input is not UTF-8: byte 0xe9 at offset 6"):
        run("-", text="Le café".encode("latin-1"))
    (in_tmp / "wide.txt").write_text(GENTLE, encoding="utf-16")
    with pytest.raises(InvalidFile) as caught:
        run("wide.txt")
    assert "--encoding utf-16" in str(caught.value.hint)
    assert GENTLE.split(".", maxsplit=1)[0] in run("wide.txt", "--encoding", "utf-16", "--judge", "lexicon").stdout
    (in_tmp / "rows.csv").write_bytes("text\nLe café\n".encode("latin-1"))
    with pytest.raises(InvalidFile, match=r"rows.csv is not UTF-8: byte 0xe9 at offset 11"):
        run("rows.csv")
    assert "rows.csv:2" in run("rows.csv", "--encoding", "latin-1", "--judge", "lexicon").stdout
    for encoding in ("latin-one", "hex"):
        with pytest.raises(UnknownName, match=f"unknown encoding '{encoding}'"):
            run("rows.csv", "--encoding", encoding)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0", b"PK\x03\x04ab\xe9\0"])
def test_a_binary_file_is_an_error(in_tmp: Path, content: bytes) -> None:
    (in_tmp / "picture.txt").write_bytes(content)
    for options in ((), ("--encoding", "latin-1")):
        with pytest.raises(InvalidFile, match=rf"picture.txt is a binary file.* offset {content.index(0)}\."):
            run("picture.txt", *options)


def test_all_unreadable_files_are_named_before_anything_is_judged(in_tmp: Path) -> None:
    (in_tmp / "good.txt").write_text(GENTLE)
    for name in ("latin.txt", "other.txt"):
        (in_tmp / name).write_bytes(b"caf\xe9")
    with pytest.raises(InvalidFile, match=r"2 of 3 files cannot be read:\n  - latin.txt is .*\n  - other.txt is"):
        run(".", "--judge", "lexicon")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("none.txt", "unknown text file 'none.txt'"),
        ("*.txt", r"\*.txt contains no texts"),
        ("empty", "contains no texts"),
    ],
)
def test_nothing_to_judge_is_an_error(in_tmp: Path, argument: str, message: str) -> None:
    (in_tmp / "empty").mkdir()
    with pytest.raises((UnknownName, InvalidFile), match=message):
        run(argument, "--judge", "lexicon")


def test_a_text_must_pass_all_judges(in_tmp: Path) -> None:
    (in_tmp / "a.txt").write_text(VIOLENT)
    for judges in (["lexicon", "personal-data"], ["personal-data", "lexicon"]):
        options = [part for spec in judges for part in ("--judge", spec)]
        done = run("a.txt", "--json", *options)
        assert done.exit_code == 3
        assert json.loads(done.stdout)["judge"] == f"any({', '.join(judges)})"
    assert run("a.txt", "--judge", "personal-data").exit_code == 0
    with pytest.raises(ConfigurationError, match="no scores of its own to calibrate"):
        run("a.txt", "--judge", "lexicon", "--judge", "personal-data", "--calibration", "a.yaml")


def test_the_base_url_is_for_the_judges_that_take_one(in_tmp: Path) -> None:
    (in_tmp / "a.txt").write_text(GENTLE)
    paths: list[str] = []

    def answer(path: str, request: dict[str, Any]) -> Any:
        paths.append(path)
        codes = load_policy("kids").codes["openai-moderation"]
        scores = {code: 0.9 if code == "violence" else 0.0 for code in codes}
        result = {"flagged": True, "categories": {c: s > 0 for c, s in scores.items()}, "category_scores": scores}
        return {"id": "1", "model": "m", "results": [result]}

    with serving(answer) as url:
        done = run("a.txt", "--json", "--judge", "lexicon", "--judge", "openai-moderation", "--base-url", url)
    assert done.exit_code == 3
    assert json.loads(done.stdout)["scores"]["violence"] == 0.9
    assert paths == ["/v1/moderations"]
    with pytest.raises(ConfigurationError, match="the judge is lexicon"):
        run("a.txt", "--judge", "lexicon", "--base-url", "http://127.0.0.1:9/v1")
    takers = [spec for spec in ("openai:x", "llama-guard:openai:x", "hf:openai/x", "lexicon") if takes_base_url(spec)]
    assert takers == ["openai:x", "llama-guard:openai:x"]


def test_a_judge_that_cannot_be_reached_passes_nothing(folder: Path) -> None:
    done = run("stories", "--judge", "openai-moderation", "--base-url", "http://127.0.0.1:9/v1")
    assert done.exit_code == 3
    assert done.stdout.count("error  ") == 2
    assert done.stdout.splitlines()[-1].endswith(": 2 error")


def test_one_judge_is_not_an_ensemble() -> None:
    assert make_judge(None, policy="kids", band="6-8").spec == "embedded:judge"
    assert make_judge(["lexicon"], policy="kids", band="6-8").spec == "lexicon"


def test_the_worst_category_is_the_one_that_fails_the_text() -> None:
    policy: Policy = load_policy("kids")
    judge = FakeJudge(policy=policy)

    def worst(scores: dict[str, float], *findings: Finding) -> tuple[str, str]:
        verdict = Verdict(outcome="fail", judge="j", policy=policy.id, band="6-8", scores=scores, findings=findings)
        return judging.worst_category(verdict, judge)

    above = policy.threshold("violence", "6-8")
    assert worst({"violence": above, "hate": 0.01}) == ("violence", f"{above:.2f}")
    severe = Finding(category="drugs", severity="severe")
    assert worst({"violence": 0.1, "drugs": 0.05}, severe) == ("drugs", "0.05")
    assert worst({}, severe, Finding(category="hate", severity="mild")) == ("drugs", "severe")
    assert worst({"violence": 0.0}) == ("-", "-")


def test_progress_is_on_standard_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_NOTE_INTERVAL_S", 0.0)
    done = run("stories", "--judge", "lexicon", "--json")
    assert "judged 1 of 2 texts" in done.stderr
    assert all(json.loads(line) for line in done.stdout.splitlines())


def test_ctrl_c_says_how_far_it_got(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(FakeJudge):
        def invoke(self, *args: Any, **kwargs: Any) -> Verdict:
            if self.judged_texts:
                raise KeyboardInterrupt
            return super().invoke(*args, **kwargs)

    monkeypatch.setattr("taleward.cli.judge_specs.make_judge", lambda *args, **kwargs: Interrupted())
    done = run("stories")
    assert done.exit_code == 130
    assert "interrupted: 1 of 2 texts judged by fake" in done.stderr
