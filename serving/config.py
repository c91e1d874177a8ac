"""The configuration of a server: named models, each a writer behind a guard, from a YAML file or from options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from taleward.chains.template import load_template, template_names
from taleward.core.errors import InvalidFile, TalewardError
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.redaction import is_secret_name
from taleward.core.yaml_files import Location, YamlFile, did_you_mean
from taleward.evaluation.tracking.tale_recorder import DEFAULT_EXPERIMENT
from taleward.moderation.policies.load import load_policy
from taleward.serving.images_config import ServedImagesConfig, Specs
from taleward.serving.operations.settings import OperationSettings
from taleward.serving.page.settings import PageSettings

DEFAULT_TEMPLATE = "adventure"
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}")

ReleaseMode = Literal["whole", "sentences"]
"""When the text of a stream leaves.

* `whole`: after the check of the whole text, so that nothing that was sent is ever withdrawn.
* `sentences`: each sentence after its own verdict; if the whole text fails in the end, it is retracted.
"""

RefusalForm = Literal["refusal", "content"]
"""Where the words for the child are if nothing is released: in OpenAI's field `refusal`, or in `content` as well."""


class ServedModelConfig(FrozenModel):
    """A writer behind a guard, as clients see it under one name.

    Attributes:
        model: The model spec of the writer.
        base_url: The server of an `openai:` model.
        options: Further options for `taleward.chat_model`, such as `temperature`.
        template: The prompt template whose stories the model writes, in answer to values as well as to free requests;
            `null` for a model that holds conversations.
        templates: A folder with your own templates.
        system_prompt: For conversations: what the model is told first, before the client's own system message.
        judge: Specs of the judges; a text must pass all of them.
        policy: The name of a policy, or the path of its file.
        band: The age band.
        bands: Further age bands that a request to `/v1/tales` may name instead.
        calibration: Calibration file of the judge; with it, there is one judge and no further band.
        attempts: Drafts at most.
        best_of: Drafts among which the best is chosen where a text leaves as a whole and no seed is asked for; 1 for
            none.
        brevity: The weight of brevity in that choice; see `taleward.BestOf`.
        seed: Makes stories repeatable; `null` draws one for each request.
        timeout_s: Time limit for an answer in seconds.
        judge_inputs: Whether requests are judged before the model reads them.
        mask_personal_data: Whether personal data in requests is replaced by its kind before anything reads it.
        max_input_chars: Characters in a request, all its texts together.
        release: When streamed text leaves on OpenAI's routes.
        refusal_as: Where the words for the child are on OpenAI's routes if nothing is released.
        description: What the model is for; shown in `/v1/models`.
    """

    model: str = "embedded:storyteller"
    base_url: str | None = None
    options: FrozenMapping[str, Any] = FrozenDict()
    template: str | None = DEFAULT_TEMPLATE
    templates: Path | None = None
    system_prompt: str = ""
    judge: Specs = ("embedded:judge",)
    policy: str = "kids"
    band: str = "6-8"
    bands: tuple[str, ...] = ()
    calibration: Path | None = None
    attempts: int = Field(default=3, ge=1, le=20)
    best_of: int = Field(default=1, ge=1, le=20)
    brevity: float = Field(default=0.0, ge=0.0)
    seed: int | None = Field(default=None, ge=0)
    timeout_s: float = Field(default=120.0, gt=0)
    judge_inputs: bool = True
    mask_personal_data: bool = True
    max_input_chars: int = Field(default=20_000, ge=1)
    release: ReleaseMode = "whole"
    refusal_as: RefusalForm = "refusal"
    description: str = ""

    @property
    def allowed_bands(self) -> tuple[str, ...]:
        """The age bands that a request may name, the default one first."""
        return tuple(dict.fromkeys((self.band, *self.bands)))

    def problems(self) -> Iterator[tuple[Location, str]]:
        """Yield what no type can check, each with its key: names of policies, bands and templates."""
        try:
            policy = load_policy(self.policy)
        except TalewardError as error:
            yield ("policy",), str(error)
        else:
            for key, bands in (("band", (self.band,)), ("bands", self.bands)):
                for band in bands:
                    if band not in policy.bands:
                        yield (key,), _unknown("band", band, policy.bands)
        try:
            if self.template is not None:
                load_template(self.template, self.templates)
            elif self.templates is not None:
                template_names(self.templates)
        except TalewardError as error:
            yield ("template",), str(error)
        if self.calibration is not None and (len(self.judge) > 1 or len(self.allowed_bands) > 1):
            yield ("calibration",), "is fitted for one judge and one band; name one of each, and no further bands"
        if self.base_url is not None and not self.model.startswith("openai:"):
            yield ("base_url",), f"is the server of an openai: model; got model {self.model!r}"
        for key in filter(is_secret_name, self.options):
            yield ("options", key), "is a secret; keys come from the environment, for example OPENAI_API_KEY"


class ServeConfig(FrozenModel):
    """What a server serves.

    Attributes:
        models: The served models by name; clients name one as `model`.
        default_model: The model of requests to `/v1/tales` that name none, and of the page; by default the first one.
        embeddings: The spec of the model behind `/v1/embeddings`; `null` for none.
        embeddings_base_url: The server of an `openai:` model for embeddings.
        embeddings_cache: File in which vectors are kept; `null` computes each anew. It holds digests of the texts, not
            the texts.
        images: The image model behind `/v1/images`; `null` for none. The default, the collage, needs the extra
            `images`, without which the routes say what to install.
        keep_alive_s: Seconds without a word after which a stream sends a comment, so that no proxy cuts it off.
        operations: How the server is run: address, keys, limits, logs.
        tracking_uri: The MLflow store in which stories and pictures are recorded, with what was asked for and all
            drafts of stories; `null` for none. Feedback on the page needs it.
        experiment: The name of the MLflow experiment.
        page: The page for children at `/`; `null` for none.
    """

    models: FrozenMapping[str, ServedModelConfig]
    default_model: str = ""
    embeddings: str | None = "embedded:minilm"
    embeddings_base_url: str | None = None
    embeddings_cache: Path | None = None
    images: ServedImagesConfig | None = ServedImagesConfig()
    keep_alive_s: float = Field(default=5.0, gt=0)
    operations: OperationSettings = OperationSettings()
    tracking_uri: str | None = None
    experiment: str = DEFAULT_EXPERIMENT
    page: PageSettings | None = PageSettings()

    @model_validator(mode="after")
    def _check_models(self) -> ServeConfig:
        if not self.models:
            raise ValueError("models: name at least one")
        if self.default_model and self.default_model not in self.models:
            raise ValueError(f"default_model: {_unknown('model', self.default_model, self.models)}")
        if self.images is not None and self.images.served_name in self.models:
            raise ValueError(f"images: {self.images.served_name!r} is the name of another model; set another name")
        return self

    @property
    def default_model_name(self) -> str:
        """The name of the default model."""
        return self.default_model or next(iter(self.models))


def load_config(path: Path) -> ServeConfig:
    """Read the configuration of a server.

    Args:
        path: A YAML file.

    Raises:
        InvalidFile: If the file cannot be read or is not a valid configuration; every problem is listed with its line.
    """
    file = YamlFile(path, "server configuration")
    if file.data is None:
        raise InvalidFile(
            f"the server configuration file {path} is empty.",
            hint="Name at least one model, for example:\nmodels:\n  tales:\n    model: embedded:storyteller",
        )
    config = file.validate(ServeConfig)
    problems = [
        (("models", name, *place), message)
        for name, model in config.models.items()
        for place, message in [*_name_problems(name), *model.problems()]
    ]
    if config.images is not None:
        default_policy = config.models[config.default_model_name].policy
        problems += [(("images", *place), message) for place, message in config.images.problems(default_policy)]
    if problems:
        raise file.problems_error(problems)
    return config


def default_config(
    *,
    band: str | None = None,
    policy: str = "kids",
    embeddings: str | None = "embedded:minilm",
    images: str | None = "collage",
    **settings: Any,
) -> ServeConfig:
    """Return a configuration without a file: one model with the same settings for each age band of a policy.

    `tales` is the default model, and `/v1/tales` may name any band with it; `kids-3-5` and so on, called after the
    policy and the band, let clients of OpenAI's API choose the band by the model's name.

    Args:
        band: Serve this band only.
        policy: The name of a policy, or the path of its file.
        embeddings: The spec of the model behind `/v1/embeddings`.
        images: The spec of the image model behind `/v1/images`.
        settings: Further fields of `ServedModelConfig`, for all models.

    Raises:
        ConfigurationError: If there is no such policy or band.
    """
    loaded = load_policy(policy)
    bands = list(loaded.bands) if band is None else [band]
    for name in bands:
        loaded.band(name)
    default_band = "6-8" if "6-8" in bands else bands[0]
    # The embedded storyteller tells short stories best, and its drafts cost nothing.
    is_embedded = settings.get("model", "embedded:storyteller").startswith("embedded:")
    settings = {"policy": policy, **({"best_of": 6, "brevity": 0.3} if is_embedded else {}), **settings}
    models = {"tales": ServedModelConfig(band=default_band, bands=tuple(bands), **settings)}
    models |= {f"{loaded.name}-{name}": ServedModelConfig(band=name, **settings) for name in bands}
    drawn = None if images is None else ServedImagesConfig(model=images)
    return ServeConfig(models=models, embeddings=embeddings, images=drawn)


def _name_problems(name: str) -> Iterator[tuple[Location, str]]:
    if not _MODEL_NAME.fullmatch(name):
        yield (), "is not a model's name: use letters, digits and ._:/-, beginning with a letter or a digit"


def _unknown(kind: str, name: str, known: Mapping[str, Any]) -> str:
    return f"unknown {kind} {name!r};{did_you_mean(name, known)} known: {', '.join(map(repr, known))}"
