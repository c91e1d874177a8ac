"""`taleward summarize` and `taleward classify`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from taleward.core.errors import ConfigurationError

File = Annotated[str, typer.Argument(help="A UTF-8 text file, or - for standard input.")]
BaseUrl = Annotated[str | None, typer.Option(help="Server of an openai: model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a page.")]
NO_ANSWER = 3
"""Exit code where a text was not classified, or a summary was not borne out."""


def summarize(
    file: File,
    model: Annotated[str, typer.Option(help="embedded:minilm picks sentences; T5, BART and chat models write.")] = (
        "embedded:minilm"
    ),
    base_url: BaseUrl = None,
    task: Annotated[str, typer.Option(help="summary, parents, or a .yaml file.")] = "summary",
    sentences: Annotated[int | None, typer.Option(min=1, help="Sentences at most.")] = None,
    check: Annotated[
        str | None, typer.Option(help="Check it against the text: embedded:minilm, an NLI model, or a chat model.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Summarise a text. Exit code 0: done, 3: done, and --check found a sentence that the text does not bear out."""
    from taleward.chains.summarization.summarizer import Summarizer
    from taleward.cli.input import read_text
    from taleward.cli.output.console import working
    from taleward.cli.output.tasks import show_summary

    text = read_text(file)
    with working("summarising"):
        chain = Summarizer(model, task, sentences=sentences, faithfulness=check, **_options(base_url))
        made = chain.invoke(text)
    if as_json:
        sys.stdout.write(made.model_dump_json(indent=2) + "\n")
    else:
        show_summary(made)
    raise typer.Exit(NO_ANSWER if made.faithfulness and not made.faithfulness.faithful else 0)


def classify(
    file: File,
    labels: Annotated[str | None, typer.Option(help="Labels, as in calm,frightening.")] = None,
    task: Annotated[str | None, typer.Option(help="sentiment, age-band, or a .yaml file.")] = None,
    model: Annotated[str, typer.Option(help="Embeddings, an NLI model, or a chat model.")] = "embedded:minilm",
    base_url: BaseUrl = None,
    few_shot: Annotated[bool, typer.Option("--few-shot", help="Show the model the task's own examples.")] = False,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="Several labels may hold at once.")] = False,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="The least score of an answer.")] = None,
    as_json: AsJson = False,
) -> None:
    """Classify a text. Exit code 0: there is an answer, 3: there is none."""
    from taleward.chains.classification.few_shot import FewShotClassifier
    from taleward.chains.classification.zero_shot import ZeroShotClassifier
    from taleward.cli.input import read_text
    from taleward.cli.output.console import working
    from taleward.cli.output.tasks import show_classification

    names = [label.strip() for label in labels.split(",")] if labels is not None else None
    text = read_text(file)
    if few_shot and multi_label:
        raise ConfigurationError("--multi-label goes without --few-shot: an example has one label.")
    given: dict[str, Any] = {"task": task, "threshold": threshold, **_options(base_url)}
    with working("classifying"):
        chain = (
            FewShotClassifier(model, names, **given)
            if few_shot
            else ZeroShotClassifier(model, names, multi_label=multi_label, **given)
        )
        found = chain.invoke(text)
    if as_json:
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
    else:
        show_classification(found)
    raise typer.Exit(0 if found.outcome == "label" else NO_ANSWER)


def _options(base_url: str | None) -> dict[str, Any]:
    return {"base_url": base_url} if base_url else {}
