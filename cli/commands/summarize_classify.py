"""`taleward summarize` and `taleward classify`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from taleward.cli.options import AsJson, BaseUrl, Encoding, TextFile
from taleward.core.errors import ConfigurationError

NO_ANSWER = 3
"""Exit code if a text was not classified, or a summary is not supported by its text."""


def summarize(
    file: TextFile,
    model: Annotated[
        str, typer.Option(help="embedded:minilm selects sentences; T5, BART and chat models write a summary.")
    ] = "embedded:minilm",
    base_url: BaseUrl = None,
    task: Annotated[str, typer.Option(help="summary, parents, or the path of a .yaml file.")] = "summary",
    sentences: Annotated[int | None, typer.Option(min=1, help="Maximum number of sentences.")] = None,
    faithfulness: Annotated[
        str | None,
        typer.Option(
            help="Check the summary against the text with this model: embedded:minilm, an NLI model or a chat model."
        ),
    ] = None,
    encoding: Encoding = "utf-8",
    as_json: AsJson = False,
) -> None:
    """Summarize a text.

    Exit codes: 0 done, 3 --faithfulness found a sentence that the text does not support.
    """
    from taleward.chains.summarization.summarizer import Summarizer
    from taleward.cli.input import read_text
    from taleward.cli.output.console import spinner
    from taleward.cli.output.summarize_classify import show_summary

    text = read_text(file, encoding)
    with spinner("summarizing"):
        chain = Summarizer(model, task, sentences=sentences, faithfulness=faithfulness, **_model_options(base_url))
        summary = chain.invoke(text)
    if as_json:
        sys.stdout.write(summary.model_dump_json(indent=2) + "\n")
    else:
        show_summary(summary)
    raise typer.Exit(NO_ANSWER if summary.faithfulness and not summary.faithfulness.faithful else 0)


def classify(
    file: TextFile,
    labels: Annotated[
        str | None, typer.Option(help="Labels separated by commas, for example calm,frightening.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="sentiment, age-band, or the path of a .yaml file.")] = None,
    model: Annotated[
        str, typer.Option(help="Spec of the model: embeddings, an NLI model or a chat model.")
    ] = "embedded:minilm",
    base_url: BaseUrl = None,
    few_shot: Annotated[bool, typer.Option("--few-shot", help="Show the model the task's examples.")] = False,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="Allow several labels for a text.")] = False,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Lowest score of a label, from 0 to 1.")] = None,
    encoding: Encoding = "utf-8",
    as_json: AsJson = False,
) -> None:
    """Classify a text.

    Exit codes: 0 there is an answer, 3 there is none.
    """
    from taleward.chains.classification.few_shot import FewShotClassifier
    from taleward.chains.classification.zero_shot import ZeroShotClassifier
    from taleward.cli.input import read_text
    from taleward.cli.output.console import spinner
    from taleward.cli.output.summarize_classify import show_classification

    names = [label.strip() for label in labels.split(",")] if labels is not None else None
    text = read_text(file, encoding)
    # `FewShotClassifier` has no such argument, so it cannot raise this error itself.
    if few_shot and multi_label:
        raise ConfigurationError(
            "--multi-label and --few-shot cannot be combined, because an example has one label.",
            hint="Leave out one of them.",
        )
    options: dict[str, Any] = {"task": task, "threshold": threshold, **_model_options(base_url)}
    with spinner("classifying"):
        chain = (
            FewShotClassifier(model, names, **options)
            if few_shot
            else ZeroShotClassifier(model, names, multi_label=multi_label, **options)
        )
        classification = chain.invoke(text)
    if as_json:
        sys.stdout.write(classification.model_dump_json(indent=2) + "\n")
    else:
        show_classification(classification)
    raise typer.Exit(0 if classification.outcome == "label" else NO_ANSWER)


def _model_options(base_url: str | None) -> dict[str, Any]:
    return {"base_url": base_url} if base_url else {}
