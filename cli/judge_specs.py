"""Make the judge that the options of a command describe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    from taleward.core.policy import Policy
    from taleward.moderation.judges import Judge

DEFAULT_JUDGE = "embedded:judge"


def make_judge(
    specs: Sequence[str] | None,
    *,
    policy: Policy | str,
    band: str,
    base_url: str | None = None,
    calibration: Path | None = None,
) -> Judge:
    """Make the judge of `--judge`, which may be repeated: a text fails if any of the judges fails it.

    Args:
        specs: The specs of the judges; the default judge if there are none.
        policy: A policy, or the name or path of one.
        band: An age band of the policy.
        base_url: The server of the `openai:` models and endpoints among the judges.
        calibration: A calibration file, for a single judge.

    Raises:
        ConfigurationError: If a judge cannot be made, no judge takes the base URL, or several judges are to be
            calibrated.
    """
    from taleward.moderation.judges import judge
    from taleward.moderation.policies.load import load_policy

    specs = specs or [DEFAULT_JUDGE]
    loaded = load_policy(policy) if isinstance(policy, str) else policy
    check_base_url(specs, base_url)
    judges = [judge(spec, policy=loaded, band=band, **base_url_options(spec, base_url)) for spec in specs]
    combined = judges[0] if len(judges) == 1 else judge(judges, policy=loaded, band=band)
    return combined if calibration is None else combined.calibrated(calibration)


def check_base_url(specs: Sequence[str], base_url: str | None) -> None:
    """Check that a base URL is for at least one of the judges.

    Raises:
        ConfigurationError: If none takes it.
    """
    if base_url and not any(takes_base_url(spec) for spec in specs):
        raise ConfigurationError(
            f"--base-url is the server of an openai: model; the judge is {', '.join(specs)}.",
            hint="Name the model on the server, for example --judge openai:NAME, or leave --base-url out.",
        )


def base_url_options(spec: str, base_url: str | None) -> dict[str, Any]:
    """Return the options of one judge among several that one `--base-url` serves: the others would reject it."""
    return {"base_url": base_url} if base_url and takes_base_url(spec) else {}


def takes_base_url(spec: str) -> bool:
    """Whether a judge asks an OpenAI-compatible server, such as `openai:NAME` or `llama-guard:openai:NAME`."""
    parts = spec.split(":")
    return parts[0] == "openai-moderation" or "openai" in parts[:2]
