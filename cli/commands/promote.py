"""`taleward promote` and `taleward rollback`: which tuned writer is the champion in MLflow's model registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taleward.cli.commands.evaluate import GATE_FAILED
from taleward.cli.options import (
    DEFAULT_FOLDER,
    AsJson,
    BandName,
    Experiment,
    Folder,
    JudgeSpecs,
    PolicyName,
    ReportFile,
    TemplateFolder,
    TrackingUri,
)

_DEFAULT_RULES = "By default judge_pass_rate and value_coverage."
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model in MLflow's registry.")]


def promote(
    name: ModelName,
    data: Annotated[
        str,
        typer.Option("--data", help="Held-out requests: a CSV, JSON Lines or Parquet file, or mlflow:NAME."),
    ],
    from_folder: Annotated[
        Path | None, typer.Option("--from", help="First register the tuned writer in this folder as the next version.")
    ] = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Version to promote; by default the newest.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Spec of the model to compare with while there is no champion; by default the one it was tuned from."
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="FIELD=VALUE", help="Only such samples, as in split=test; may be repeated."),
    ] = None,
    gates: Annotated[
        Path | None,
        typer.Option(help="File with thresholds that the version must meet. By default taleward.toml, if it exists."),
    ] = None,
    not_worse: Annotated[
        list[str] | None,
        typer.Option(help=f"Metric that must not be significantly worse; may be repeated. {_DEFAULT_RULES}"),
    ] = None,
    better: Annotated[
        list[str] | None,
        typer.Option(help=f"Metric of which one must be significantly better; may be repeated. {_DEFAULT_RULES}"),
    ] = None,
    max_drop: Annotated[
        float, typer.Option(help="The most that a share in --not-worse may have dropped, by the whole interval.")
    ] = 0.1,
    preference: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Chat model that says which of two stories is better.")
    ] = None,
    template: Annotated[
        str, typer.Option(help="Name of a template, or NAME@ALIAS in MLflow's prompt registry.")
    ] = "adventure",
    templates: TemplateFolder = None,
    judge: JudgeSpecs = None,
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    input_key: Annotated[
        str | None, typer.Option(help="Input with a request in free words; by default all are values of the template.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of both writers.")] = 0,
    concurrency: Annotated[int, typer.Option(min=1, help="Number of samples to run at once.")] = 8,
    report: ReportFile = None,
    as_json: AsJson = False,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Compare a tuned writer with the champion on held-out requests, and make it champion if it is better.

    No metric may be significantly worse, and one must be significantly better. The champion is models:/NAME@champion.

    Exit codes: 0 promoted, 1 MLflow or a model failed, 2 wrong use or data, 3 not promoted, 130 interrupted.
    """
    if from_folder is not None and version is not None:
        raise typer.BadParameter("--from registers the next version; --version names one that is registered")
    from taleward.chains.template import load_template
    from taleward.cli.judge_specs import make_judge
    from taleward.cli.output.console import print_note
    from taleward.cli.output.promotion import show_promotion
    from taleward.evaluation.datasets import load_dataset
    from taleward.evaluation.gates import load_gates
    from taleward.evaluation.tracking.prompts import load_registered_template
    from taleward.tuning.promotion import promote as promote_version
    from taleward.tuning.promotion_rules import BETTER, NOT_WORSE
    from taleward.tuning.registry import CHAMPION, register_writer

    uri = _tracking_uri(tracking_uri, folder)
    samples = load_dataset(data, tracking_uri=uri).select(*where or ())
    loaded_gates = None if gates is None else load_gates(gates)
    loaded_template = (
        load_registered_template(template, tracking_uri=uri) if "@" in template else load_template(template, templates)
    )
    loaded_judge = make_judge(judge, policy=policy, band=band)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
    if from_folder is not None:
        version = register_writer(from_folder, name, tracking_uri=uri, experiment=experiment)
        print_note(f"{from_folder} is models:/{name}/{version}")
    promotion = promote_version(
        name,
        version,
        dataset=samples,
        against=against or CHAMPION,
        gates=loaded_gates,
        not_worse=not_worse or NOT_WORSE,
        better=better or BETTER,
        max_drop=max_drop,
        preference=preference,
        template=loaded_template,
        judge=loaded_judge,
        policy=policy,
        band=band,
        input_key=input_key,
        seed=seed,
        concurrency=concurrency,
        tracking_uri=uri,
        experiment=experiment,
        spool=folder / "spool",
    )
    if as_json:
        typer.echo(promotion.model_dump_json(indent=1))
    else:
        show_promotion(promotion)
    if report is not None:
        report.write_text(promotion.html(), encoding="utf-8")
        print_note(f"report written to {report}")
    if not promotion.promoted:
        raise typer.Exit(GATE_FAILED)


def rollback(
    name: ModelName,
    tracking_uri: TrackingUri = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Make the version champion again that was champion before.

    Exit codes: 0 rolled back, 1 MLflow failed, 2 there is nothing to roll back to.
    """
    from taleward.tuning.registry import rollback as roll_back

    version = roll_back(name, tracking_uri=_tracking_uri(tracking_uri, folder))
    typer.echo(f"models:/{name}/{version} is the champion again")


def _tracking_uri(tracking_uri: str | None, folder: Path) -> str | None:
    """Return the URI of the options; `None` for the places where a `models:` spec is looked up, too."""
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri

    return tracking_uri or (None if folder == DEFAULT_FOLDER else default_tracking_uri(folder))
