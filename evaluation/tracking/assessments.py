"""Verdicts and sample scores as MLflow assessments, which MLflow's pages show as columns, filter by and compare."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from taleward.core.verdict import Verdict

VERDICT, VERDICT_SCORE = "verdict", "verdict_score"
"""The names of a verdict's assessments."""

_ALL_WHOLE = 1_000  # from here on, four significant digits have no decimals


@dataclass(frozen=True)
class AssessmentData:
    """One assessment of a trace by a program; what people say is in `taleward.evaluation.feedback`.

    Attributes:
        name: The assessment's name; MLflow shows a column per name.
        value: A number, or a word such as an outcome.
        source_type: MLflow's kind of source.
        source_id: Which judge or metric it comes from.
        rationale: The explanation, if there is one.
        metadata: More about it, by name.
    """

    name: str
    value: float | str
    source_type: Literal["LLM_JUDGE", "CODE"]
    source_id: str
    rationale: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def id(self, trace_id: str, run_id: str | None) -> str:
        """Return the assessment's id in MLflow, which is the same whenever it is written."""
        return f"a-{hashlib.sha256(f'{trace_id} {run_id} {self.name}'.encode()).hexdigest()[:32]}"

    def for_mlflow(self, trace_id: str, run_id: str | None, at_ms: int) -> Any:
        """Return MLflow's entity.

        Args:
            trace_id: The id of the assessed trace.
            run_id: The run that the assessment belongs to, if any.
            at_ms: When it was made, in milliseconds since the epoch.
        """
        from mlflow.entities import AssessmentSource, Feedback

        feedback = Feedback(
            name=self.name,
            value=self.value,
            source=AssessmentSource(self.source_type, self.source_id),
            trace_id=trace_id,
            # The page of an evaluation run shows the assessments with its own id only.
            metadata={**self.metadata, **({} if run_id is None else {"mlflow.assessment.sourceRunId": run_id})},
            create_time_ms=at_ms,
            last_update_time_ms=at_ms,
            rationale=self.rationale,
        )
        feedback.assessment_id = self.id(trace_id, run_id)
        return feedback


def verdict_assessments(verdict: Verdict) -> Iterator[AssessmentData]:
    """Yield a verdict's outcome, with its findings, and the highest of its scores if the judge gives any."""
    # Judges without a model, such as `lexicon`, have no provider in their spec.
    source_type: Literal["LLM_JUDGE", "CODE"] = "LLM_JUDGE" if ":" in verdict.judge else "CODE"
    findings = [finding.model_dump(mode="json", exclude={"rationale"}) for finding in verdict.findings]
    details = {
        "policy": verdict.policy,
        "band": verdict.band,
        "categories": ", ".join(verdict.categories),
        "findings": json.dumps(findings, ensure_ascii=False) if findings else "",
        "scores": json.dumps({name: round_significant(score) for name, score in verdict.scores.items()}),
        "calibration": verdict.calibration or "",
        # MLflow adds up the costs under this name.
        "mlflow.assessment.judgeCost": "" if verdict.cost_usd is None else str(verdict.cost_usd),
    }
    metadata = {name: value for name, value in details.items() if value not in ("", "{}")}
    yield AssessmentData(VERDICT, verdict.outcome, source_type, verdict.judge, _rationale(verdict), metadata)
    if verdict.scores:
        category, score = _highest_score(verdict)
        yield AssessmentData(
            VERDICT_SCORE, round_significant(score), source_type, verdict.judge, None, {"category": category}
        )


def round_significant(value: float) -> float:
    """Round a number to four significant digits, but never to less than a whole number."""
    return float(round(value)) if math.isfinite(value) and abs(value) >= _ALL_WHOLE else float(f"{value:.4g}")


def _rationale(verdict: Verdict) -> str | None:
    lines = []
    for finding in verdict.findings:
        quote = f" {finding.quote!r}" if finding.quote else ""
        reason = f": {finding.rationale}" if finding.rationale else ""
        lines.append(f"{finding.category} ({finding.severity}){quote}{reason}")
    if verdict.detail:
        lines.append(verdict.detail)
    if not lines and not verdict.passed and verdict.scores:
        category, score = _highest_score(verdict)
        lines.append(f"highest score: {category} {round_significant(score)}")
    return "\n".join(lines) or None


def _highest_score(verdict: Verdict) -> tuple[str, float]:
    return max(verdict.scores.items(), key=lambda item: item[1])
