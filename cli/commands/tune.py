"""`taleward tune`: tune a writer on rows of stories or feedback."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from taleward.cli.options import DEFAULT_FOLDER, Folder, TrackingUri

tune_app = typer.Typer(name="tune", no_args_is_help=True, help="Tune a writer or a judge on your own data.")


@tune_app.command("writer")
def tune_writer_command(
    rows: Annotated[
        Path, typer.Option("--rows", help="JSON Lines file of rows; `taleward feedback export` writes one.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the tuned writer: new, or that of a stopped run.")],
    model: Annotated[
        str,
        typer.Option("--model", help="What to tune: embedded:storyteller, hf:REPOSITORY, hf:FOLDER or hf:FILE.gguf."),
    ] = "embedded:storyteller",
    method: Annotated[
        Literal["sft", "dpo", "kto"],
        typer.Option("--method", help="Learn answers (sft), prefer one of two (dpo), or learn from votes (kto)."),
    ] = "sft",
    held_out: Annotated[
        Path | None,
        typer.Option("--held-out", help="File of rows that are not trained on; their loss is measured."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--start", help="Adapter to go on from: the folder `adapter` in another --out.")
    ] = None,
    epochs: Annotated[float, typer.Option("--epochs", min=0.01, help="How often the rows are read.")] = 2.0,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Peak learning rate; by default a usual one for the method.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Rows per step.")] = 8,
    micro_batch_size: Annotated[
        int, typer.Option("--micro-batch-size", min=1, help="Rows at once; fewer take less memory.")
    ] = 4,
    lora_rank: Annotated[
        int, typer.Option("--lora-rank", min=0, help="Rank of the adapters; 0 tunes all weights.")
    ] = 32,
    beta: Annotated[
        float, typer.Option("--beta", help="How close dpo and kto stay to the base model; higher is closer.")
    ] = 0.1,
    max_length: Annotated[
        int, typer.Option("--max-length", min=16, help="Most tokens of a prompt with its answer.")
    ] = 1024,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the adapters and of the order of the rows.")] = 0,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda or cuda:N; by default a GPU, if any.")
    ] = None,
    save_steps: Annotated[int, typer.Option("--save-steps", min=1, help="Steps between checkpoints.")] = 100,
    experiment: Annotated[str | None, typer.Option("--experiment", help="Name of the MLflow experiment.")] = None,
    sample_prompt: Annotated[
        list[str] | None,
        typer.Option("--sample-prompt", help="Prompt to answer at every checkpoint, for MLflow; may be repeated."),
    ] = None,
    tracking_uri: TrackingUri = None,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Tune a writer on stories or feedback, and print the spec to write with.

    A run that was stopped continues from its last checkpoint: run the same command again. A tuned writer is not better
    because it was tuned: compare it with `taleward promote`.

    Exit codes: 0 tuned, 1 a model or MLflow failed, 2 wrong use or data, 130 interrupted.
    """
    if sample_prompt and experiment is None:
        raise typer.BadParameter("--sample-prompt is for MLflow: name an --experiment, too")
    from taleward.cli.output.console import print_note
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri
    from taleward.tuning.rows import read_tuning_rows
    from taleward.tuning.writer import tune_writer

    tuned = tune_writer(
        model,
        rows,
        out,
        held_out=read_tuning_rows(held_out, method) if held_out else (),
        start=start,
        device=device,
        save_steps=save_steps,
        experiment=experiment,
        sample_prompts=sample_prompt or (),
        tracking_uri=tracking_uri or (default_tracking_uri(folder) if experiment else None),
        method=method,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        lora_rank=lora_rank,
        beta=beta,
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
    print_note(f"try it: taleward tell --model {shlex.quote(tuned.spec)}")
    print_note(f"compare it: taleward promote NAME --from {shlex.quote(str(tuned.folder))} --data HELD_OUT_REQUESTS")
