"""Put a tuned adapter into the package: `python -m training.storyteller.export ADAPTER`.

The weights are stored in bfloat16, half of their size, and under the names that the base model's weights have.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from taleward.backends.base.shipped_models import embedded_path

_PREFIX = "base_model.model."


def export_adapter(adapter: Path, out: Path) -> None:
    """Write `adapter.safetensors`.

    Args:
        adapter: A folder that PEFT wrote.
        out: The embedded model's folder.
    """
    import torch
    from safetensors.torch import load_file, save_file

    weights, file = load_file(adapter / "adapter_model.safetensors"), out / "adapter.safetensors"
    save_file(
        {name.removeprefix(_PREFIX): weight.to(torch.bfloat16).contiguous() for name, weight in weights.items()},
        file,
    )
    file.chmod(0o644)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("`")[0].rstrip(": "))
    parser.add_argument("adapter", type=Path, help="folder of the adapter")
    options = parser.parse_args(arguments)
    export_adapter(options.adapter, embedded_path("storyteller"))


if __name__ == "__main__":
    main()
