"""Taleward: chained generation and moderation with LLMs. A story is not finished until it has been judged.

The names of a first program are here; everything else is in the public modules `taleward.agents`, `backends`,
`chains`, `errors`, `evaluation`, `events`, `moderation`, `stores`, `testing` and `types`. `__init__.pyi` lists the
names; each is loaded when it is first used, so that the import stays fast.
"""

from __future__ import annotations

import os

import lazy_loader

__version__ = "0.1.0.dev0"

# No telemetry unless the user turned it on.
for _switch, _off in (
    ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ("LANGSMITH_TRACING", "false"),
    ("HF_HUB_DISABLE_TELEMETRY", "1"),
    ("ANONYMIZED_TELEMETRY", "False"),
    ("ORT_DISABLE_TELEMETRY", "1"),  # ONNX Runtime reads it once, when it is imported
):
    os.environ.setdefault(_switch, _off)

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
