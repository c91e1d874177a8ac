"""Run the evaluated system on samples, and read its outputs."""

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

from taleward.chains.classification.label_chain import LabelChain
from taleward.chains.classification.result import Classification
from taleward.chains.summarization.guard import JudgedSummary, SummaryGuard
from taleward.chains.summarization.result import Summary
from taleward.chains.summarization.summarizer import Summarizer
from taleward.core.errors import ConfigurationError
from taleward.core.tale import Tale
from taleward.core.verdict import Verdict
from taleward.core.yaml_files import did_you_mean
from taleward.evaluation.describe import describe_system
from taleward.evaluation.sample import Sample
from taleward.moderation.guard.call_recorder import CallRecorder
from taleward.moderation.judges.base import Judge

SystemOutput = str | BaseMessage | Tale | Verdict | Classification | Summary | JudgedSummary
"""What a system may return."""

System = Runnable[Any, Any] | Callable[[Any], Any] | Sequence[SystemOutput]
"""What can be evaluated: a Runnable or function from inputs to an output, or the outputs themselves."""

_TEXT_SYSTEMS = (LabelChain, Summarizer, SummaryGuard, BaseLanguageModel)
"""Systems that take one text instead of a mapping of inputs."""


def prepare_system(
    system: System, samples: Sequence[Sample], input_key: str | None
) -> tuple[Callable[[Sample], Awaitable[Sample]], dict[str, str]]:
    """Make a system ready to run on samples.

    Args:
        system: The system to evaluate.
        samples: All samples of the dataset.
        input_key: The only input that the system gets, see `evaluate`.

    Returns:
        A coroutine function that runs the system on a sample and returns it with its output, and the system's
        parameters.

    Raises:
        ConfigurationError: If `system` is not a `System`, if the number of outputs is not that of the samples, or if a
            sample lacks the input.
    """
    if isinstance(system, Runnable) or callable(system):
        runnable: Runnable[Any, Any] = system if isinstance(system, Runnable) else RunnableLambda(system)
        input_of = _input_function(system, samples, input_key)
        params = describe_system(system)
        if input_key is not None:
            params["input_key"] = input_key

        async def run(sample: Sample) -> Sample:
            # A callback sees every model call inside the Runnable, however deep it is.
            recorder, start = CallRecorder(), time.perf_counter()
            output = await runnable.ainvoke(input_of(sample), {"callbacks": [recorder]})
            return _with_usage(with_output(sample, output), time.perf_counter() - start, recorder)

        return run, params
    if isinstance(system, str) or not isinstance(system, Sequence):
        raise ConfigurationError(
            f"a system is a Runnable, a function of a sample's inputs, or a list of outputs; got {system!r:.80}."
        )
    if len(system) != len(samples):
        raise ConfigurationError(f"got {len(system)} outputs for {len(samples)} samples; give one for each sample.")
    finished = {sample.id: with_output(sample, output) for sample, output in zip(samples, system, strict=True)}
    outputs = [output.model_dump(mode="json") if isinstance(output, BaseModel) else output for output in system]
    digest = hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()

    async def look_up(sample: Sample) -> Sample:
        return finished[sample.id]

    return look_up, {"system": "outputs", "outputs": digest[:12]}


def dataset_sha256(system: System, samples: Sequence[Sample]) -> str:
    """Return the SHA-256, in hexadecimal, of everything that the samples give to the system and the metrics.

    Two evaluations can be compared if this is the same. A judge's input is the samples' output, so it counts there. The
    split does not: it only says which samples are selected.
    """
    fields = {"id", "inputs", "references", "label", "ratings", *(["output"] if isinstance(system, Judge) else [])}
    content = json.dumps([sample.model_dump(mode="json", include=fields) for sample in samples], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def with_output(sample: Sample, output: Any) -> Sample:
    """Return the sample with a system's output.

    A verdict predicts `pass`, or `fail` for any other outcome. A classification predicts its label, or its outcome if
    it has no label. A text is also the prediction of a sample that has a label and no prediction.

    Raises:
        ConfigurationError: If the output is not a `SystemOutput`.
    """
    match output:
        case Tale():
            return sample.with_tale(output)
        case Verdict():
            return sample.model_copy(update={"verdict": output, "prediction": "pass" if output.passed else "fail"})
        case Classification():
            label = output.label or output.outcome
            return sample.model_copy(update={"output": label, "prediction": label})
        case Summary():
            return sample.model_copy(update={"output": output.text})
        case JudgedSummary():
            released_text = output.text if output.released else None
            return sample.model_copy(update={"output": released_text, "verdict": output.verdict})
        case BaseMessage() | str():
            text = output if isinstance(output, str) else output.text
            prediction = sample.prediction
            if prediction is None and sample.label is not None:
                prediction = text.strip()
            return sample.model_copy(update={"output": text, "prediction": prediction})
    raise ConfigurationError(
        f"sample {sample.id!r}: the system returned an unsupported {type(output).__name__}; expected a text, a "
        "message, a Tale, a Verdict, a Classification or a Summary."
    )


def _with_usage(sample: Sample, latency_s: float, recorder: CallRecorder) -> Sample:
    """Add latency, tokens and cost, as far as they are known; a tale has its own."""
    if sample.tale is not None:
        return sample
    tokens = [call.output_tokens for call in recorder.calls if call.output_tokens is not None]
    costs = [call.cost_usd for call in recorder.calls if call.cost_usd is not None]
    cost = sum(costs) if costs else None
    if sample.verdict is not None and sample.verdict.cost_usd is not None:
        cost = sample.verdict.cost_usd
    usage = {"latency_s": latency_s, "tokens": sum(tokens) if tokens else None, "cost_usd": cost}
    return sample.model_copy(update=usage)


def _input_function(system: System, samples: Sequence[Sample], input_key: str | None) -> Callable[[Sample], Any]:
    """Return a function from a sample to the system's input."""
    if input_key is None and isinstance(system, Judge):
        return lambda sample: sample.text
    if input_key is None and not isinstance(system, _TEXT_SYSTEMS):
        return lambda sample: dict(sample.inputs)
    if input_key is None:
        names = list(dict.fromkeys(str(name) for sample in samples for name in sample.inputs))
        if len(names) != 1:
            raise ConfigurationError(
                f"a {type(system).__name__} takes one text, but the samples have these inputs: "
                f"{', '.join(names) or '(none)'}.",
                hint="Select one with input_key=...",
            )
        input_key = names[0]
    key = input_key
    for sample in samples:
        if key not in sample.inputs:
            names = [str(name) for name in sample.inputs]
            raise ConfigurationError(
                f"sample {sample.id!r} has no input {key!r};{did_you_mean(key, names)} "
                f"its inputs: {', '.join(names) or '(none)'}."
            )
    return lambda sample: sample.inputs[key]
