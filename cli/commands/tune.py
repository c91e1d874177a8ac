"""`taleward tune`: tune a writer on rows of stories or feedback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from taleward.cli.options import TrackingUri

tune_app = typer.Typer(name="tune", no_args_is_help=True, help="Tune a writer or a judge on your own data.")


@tune_app.command("writer")
def tune_writer_command(
    rows: Annotated[
        Path, typer.Option("--rows", help="JSON Lines file of rows; `taleward feedback export` writes one.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the tuned model: new, or that of a stopped run.")],
    model: Annotated[
        str,
        typer.Option("--model", help="What to tune: embedded:storyteller, hf:REPOSITORY, hf:FOLDER or hf:FILE.gguf."),
    ] = "embedded:storyteller",
    method: Annotated[
        Literal["sft", "dpo", "kto"],
        typer.Option("--method", help="Learn answers (sft), prefer one of two (dpo), or learn from votes (kto)."),
    ] = "sft",
    held_out: Annotated[
        Path | None, typer.Option("--held-out", help="Rows whose loss is measured and that are not trained on.")
    ] = None,
    start: Annotated[Path | None, typer.Option("--start", help="Folder of an adapter to start from.")] = None,
    epochs: Annotated[float, typer.Option("--epochs", min=0.01, help="How often the rows are read.")] = 2.0,
    rate: Annotated[float | None, typer.Option("--rate", help="Peak learning rate; by default the method's.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Rows per step.")] = 8,
    rank: Annotated[int, typer.Option("--rank", min=0, help="Rank of the adapters; 0 tunes all weights.")] = 32,
    max_length: Annotated[int, typer.Option("--max-length", min=16, help="Tokens of a prompt with its answer.")] = 1024,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the adapters and of the order of the rows.")] = 0,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda or cuda:N; by default a GPU, if any.")
    ] = None,
    experiment: Annotated[str | None, typer.Option("--experiment", help="Name of the MLflow experiment.")] = None,
    sample_prompt: Annotated[
        list[str] | None, typer.Option("--sample-prompt", help="Prompt to answer at every checkpoint; may be repeated.")
    ] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Tune a writer, and print the spec to write with.

    A run that was stopped goes on from its last checkpoint: run the same command again.
    """
    from taleward.cli.output.console import print_note
    from taleward.tuning.rows import read_tuning_rows
    from taleward.tuning.writer import tune_writer

    tuned = tune_writer(
        model,
        rows,
        out,
        held_out=read_tuning_rows(held_out, method) if held_out else (),
        start=start,
        device=device,
        experiment=experiment,
        sample_prompts=sample_prompt or (),
        tracking_uri=tracking_uri,
        method=method,
        epochs=epochs,
        learning_rate=rate,
        batch_size=batch_size,
        micro_batch_size=min(4, batch_size),
        lora_rank=rank,
        max_length=max_length,
        seed=seed,
    )
    record = tuned.record
    print_note(
        f"{record.recipe.rows} rows, {record.steps} steps in {record.seconds:.0f} s"
        + (f", loss {record.loss:.3f}" if record.loss is not None else "")
        + (f", held-out loss {record.held_out_loss:.3f}" if record.held_out_loss is not None else "")
    )
    typer.echo(tuned.spec)
    print_note(f"try it: taleward tell --model {tuned.spec}")
