"""How a system is asked about a sample, and what its answer makes of the sample."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import BaseModel

from taleward.chains.classification.chain import LabelChain
from taleward.chains.classification.result import Classification
from taleward.chains.summarization.guard import JudgedSummary, SummaryGuard
from taleward.chains.summarization.result import Summary
from taleward.chains.summarization.summarizer import Summarizer
from taleward.core.errors import ConfigurationError
from taleward.core.tale import Tale
from taleward.core.verdict import Verdict
from taleward.core.yaml_files import did_you_mean
from taleward.evaluation.describe import described
from taleward.evaluation.sample import Sample
from taleward.moderation.guard.call_recorder import CallRecorder
from taleward.moderation.judges.base import Judge

SystemOutput = str | BaseMessage | Tale | Verdict | Classification | Summary | JudgedSummary
"""What a system may answer with."""

System = Runnable[Any, Any] | Callable[[Any], Any] | Sequence[SystemOutput]
"""What can be evaluated: a Runnable or a function from inputs to an answer, or the answers themselves."""

_TAKEN = "text, a message, a Tale, a Verdict, a Classification, a Summary"
_OF_TEXTS = (LabelChain, Summarizer, SummaryGuard, BaseLanguageModel)


def asking(
    system: System, rows: Sequence[Sample], input_key: str | None
) -> tuple[Callable[[Sample], Awaitable[Sample]], dict[str, str]]:
    """How a sample is answered, and by what.

    Args:
        system: See `System`.
        rows: All samples.
        input_key: The input that the system is given alone, see `evaluate`.

    Raises:
        ConfigurationError: It is no system, there is not one answer for each sample, or samples lack the input.
    """
    if isinstance(system, Runnable) or callable(system):
        runnable: Runnable[Any, Any] = system if isinstance(system, Runnable) else RunnableLambda(system)
        given = _given(system, rows, input_key)
        about = described(system)
        if input_key is not None:
            about["input_key"] = input_key

        async def asked(sample: Sample) -> Sample:
            observer, begun = CallRecorder(), time.perf_counter()
            answer = await runnable.ainvoke(given(sample), {"callbacks": [observer]})
            return _timed(answered(sample, answer), time.perf_counter() - begun, observer)

        return asked, about
    if isinstance(system, str) or not isinstance(system, Sequence):
        raise ConfigurationError(
            f"a system is a Runnable, a function of a sample's inputs, or a list of outputs; got {system!r:.80}."
        )
    if len(system) != len(rows):
        raise ConfigurationError(f"there are {len(system)} outputs for {len(rows)} samples; give one for each.")
    made = {row.id: answered(row, output) for row, output in zip(rows, system, strict=True)}
    plain = [a.model_dump(mode="json") if isinstance(a, BaseModel) else a for a in system]
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    async def known(sample: Sample) -> Sample:
        return made[sample.id]

    return known, {"system": "outputs", "outputs": digest[:12]}


def asked_sha256(system: System, rows: Sequence[Sample]) -> str:
    """What tells a data set from others: SHA-256 of what a system is asked and held against, not of answers in it."""
    asked = {"id", "inputs", "references", "label", "ratings", *(["output"] if isinstance(system, Judge) else [])}
    told = json.dumps([row.model_dump(mode="json", include=asked) for row in rows], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def answered(row: Sample, answer: Any) -> Sample:
    """The sample with an answer.

    A verdict predicts `pass`, or `fail` where it is anything else; a classification its label, or its outcome where it
    has none. A text is also the prediction of a sample that has a label and no prediction.

    Raises:
        ConfigurationError: It is none that is taken.
    """
    match answer:
        case Tale():
            return row.with_tale(answer)
        case Verdict():
            return row.model_copy(update={"verdict": answer, "prediction": "pass" if answer.passed else "fail"})
        case Classification():
            label = answer.label or answer.outcome
            return row.model_copy(update={"output": label, "prediction": label})
        case Summary():
            return row.model_copy(update={"output": answer.text})
        case JudgedSummary():
            return row.model_copy(
                update={"output": answer.text if answer.released else None, "verdict": answer.verdict}
            )
        case BaseMessage() | str():
            text = answer if isinstance(answer, str) else answer.text
            predicted = row.prediction
            if predicted is None and row.label is not None:
                predicted = text.strip()
            return row.model_copy(update={"output": text, "prediction": predicted})
    raise ConfigurationError(f"sample {row.id!r}: the system gave a {type(answer).__name__}; taken: {_TAKEN}.")


def _timed(sample: Sample, seconds: float, observer: CallRecorder) -> Sample:
    """The sample with what it took, as far as somebody said; a tale knows that itself."""
    if sample.tale is not None:
        return sample
    tokens = [c.output_tokens for c in observer.calls if c.output_tokens is not None]
    costs = [c.cost_usd for c in observer.calls if c.cost_usd is not None]
    cost = sum(costs) if costs else None
    if sample.verdict is not None and sample.verdict.cost_usd is not None:
        cost = sample.verdict.cost_usd
    return sample.model_copy(update={"latency_s": seconds, "tokens": sum(tokens) if tokens else None, "cost_usd": cost})


def _given(system: System, rows: Sequence[Sample], input_key: str | None) -> Callable[[Sample], Any]:
    """What the system is given of a sample."""
    if input_key is None and isinstance(system, Judge):
        return lambda sample: sample.text
    if input_key is None and not isinstance(system, _OF_TEXTS):
        return lambda sample: dict(sample.inputs)
    kind = type(system).__name__
    if input_key is None:
        names = list(dict.fromkeys(str(name) for row in rows for name in row.inputs))
        if len(names) != 1:
            raise ConfigurationError(
                f"a {kind} takes one text; the samples have the inputs {', '.join(names) or '(none)'}.",
                hint="Say which one with input_key=...",
            )
        input_key = names[0]
    key = input_key
    for row in rows:
        if key not in row.inputs:
            near = did_you_mean(key, [str(name) for name in row.inputs])
            raise ConfigurationError(
                f"sample {row.id!r} has no input {key!r};{near} there are: {', '.join(map(str, row.inputs)) or 'none'}."
            )
    return lambda sample: sample.inputs[key]
