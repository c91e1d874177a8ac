"""Turn what Runnables return into results of rows."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage

from taleward.batch.tasks.base import RowResult
from taleward.chains.classification.result import Classification
from taleward.chains.summarization.guard import JudgedSummary
from taleward.chains.summarization.result import Summary
from taleward.core.errors import ConfigurationError
from taleward.core.redaction import redact
from taleward.core.tale import Tale
from taleward.core.verdict import Verdict
from taleward.evaluation.sample import Sample

JUDGE_ERROR = "JudgeError"
"""`error_type` of rows whose judge gave no answer."""


def row_result(output: Any, seconds: float | None = None) -> RowResult:
    """Return the result of a row from the output of a Runnable or a function.

    Args:
        output: A tale, a verdict, a classification, a summary, a message or a text.
        seconds: Seconds it took; a tale and a verdict have their own.

    Raises:
        ConfigurationError: If the output is of another type.
    """
    match output:
        case Tale():
            return _tale_result(output)
        case Verdict():
            return _verdict_result(output)
        case Classification():
            return RowResult(output.outcome, label=output.label, result=output.model_dump_json(), seconds=seconds)
        case JudgedSummary():
            verdict = output.verdict
            error_type, error = _judge_error(verdict)
            return RowResult(
                "error" if error_type else "released" if output.released else "refused",
                text=output.summary.text if output.summary else None,
                categories=_categories(verdict),
                label=output.label.label if output.label else None,
                # A summary that did not pass leaves nothing of its words.
                result=output.model_dump_json() if output.released else None,
                error_type=error_type,
                error=error,
                seconds=seconds,
            )
        case Summary():
            return RowResult("done", text=output.text, result=output.model_dump_json(), seconds=seconds)
        case BaseMessage():
            return RowResult("done", text=output.text, seconds=seconds)
        case str():
            return RowResult("done", text=output, seconds=seconds)
    raise ConfigurationError(
        f"a row's output is a {type(output).__name__}; expected a tale, a verdict, a classification, a summary, a "
        "message or a text."
    )


def _tale_result(tale: Tale) -> RowResult:
    sample = Sample(id=tale.id, tale=tale)
    error_type, error = _judge_error(tale.verdict) if not tale.released else (None, None)
    return RowResult(
        "error" if error_type else "released" if tale.released else "refused",
        text=tale.released_text,
        categories=tale.refusal.categories if tale.refusal else (),
        result=tale.without_drafts().model_dump_json(),
        error_type=error_type,
        error=error,
        seconds=tale.lineage.duration_s,
        cost_usd=sample.cost_usd,
        tokens=sample.tokens,
    )


def _verdict_result(verdict: Verdict) -> RowResult:
    error_type, error = _judge_error(verdict)
    return RowResult(
        verdict.outcome,
        categories=_categories(verdict),
        result=verdict.model_dump_json(),
        error_type=error_type,
        error=error,
        seconds=verdict.latency_s,
        cost_usd=verdict.cost_usd,
    )


def _judge_error(verdict: Verdict | None) -> tuple[str | None, str | None]:
    if verdict is None or verdict.outcome != "error":
        return None, None
    return JUDGE_ERROR, redact(verdict.detail)


def _categories(verdict: Verdict) -> tuple[str, ...]:
    return tuple(dict.fromkeys(finding.category for finding in verdict.findings))
