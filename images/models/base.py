"""Base class of image models: a Runnable from a prompt to pictures."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

from langchain_core.runnables import Runnable, RunnableConfig

from taleward.core.concurrency.abandoned_calls import LeftBehind
from taleward.core.errors import ConfigurationError, InvalidInputs, PictureBlocked
from taleward.images.aspect_ratio import size_for
from taleward.images.models.capabilities import ImageCapabilities
from taleward.images.models.drawing_thread import aiterate_in_thread, iterate_in_thread
from taleward.images.models.events import FinishedPicture, ImageEvent
from taleward.images.models.request import MAX_PICTURES, ImageInput, ImageRequest, as_request
from taleward.images.models.seeds import variation_seeds
from taleward.images.picture import Picture

DEFAULT_VARIATIONS = 4
DEFAULT_TIMEOUT_S = 600.0


class PictureStore(Protocol):
    """Where finished pictures are kept by the digest of what they were drawn from; `PictureCache` is one."""

    def get(self, key: str) -> Picture | None:
        """Return the picture, or `None`."""

    def put(self, key: str, picture: Picture) -> None:
        """Keep a picture."""


class DrawingCanceled(Exception):
    """Raised within a drawing that nobody waits for any more."""


@dataclass(frozen=True)
class DrawingTask:
    """A checked request, as a model draws it.

    Attributes:
        request: The request.
        size: Width and height in pixels.
        seeds: The seeds of the variations to draw, by their index; those in the cache are left out.
        canceled: Set when nobody waits for the drawing any more.
        emit: Adds an event to the stream at once, for libraries that report progress by a callback.
    """

    request: ImageRequest
    size: tuple[int, int]
    seeds: dict[int, int]
    canceled: threading.Event
    emit: Callable[[ImageEvent], None] = lambda _event: None

    def check(self) -> None:
        """Raise `DrawingCanceled` if nobody waits any more; call it between steps."""
        if self.canceled.is_set():
            raise DrawingCanceled


class ImageModel(Runnable[ImageInput, tuple[Picture, ...]]):
    """A Runnable from a prompt to variations of a picture.

    `invoke`, `ainvoke` and `batch` return the variations in order; `stream` and `astream` yield events while they are
    drawn: progress, unfinished pictures and finished ones. As a step of a longer chain it passes on the variations.
    Fields of the request can be given to each call: `model.invoke("a fox", n=2, seed=7)`.

    **The pictures have not been judged.** Put the model into an `ImageGuard` before a child sees what it draws.

    A subclass implements `_draw`, and `_parameters` with whatever else decides how a picture looks.

    Args:
        spec: The model's spec.
        capabilities: What it can do.
        n: Variations per call, 1 to 64.
        timeout_s: Time limit of a call in seconds; `None` for none.
        pixels: Area of a picture whose request names no size.
        cache: Where finished pictures are kept, and looked up before they are drawn.

    Raises:
        ConfigurationError: If an option is out of range.
    """

    default_pixels: ClassVar[int] = 1024 * 1024

    def __init__(
        self,
        spec: str,
        capabilities: ImageCapabilities,
        *,
        n: int = DEFAULT_VARIATIONS,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        pixels: int | None = None,
        cache: PictureStore | None = None,
    ) -> None:
        if not 1 <= n <= MAX_PICTURES:
            raise ConfigurationError(f"n must be from 1 to {MAX_PICTURES}; got {n}.")
        if timeout_s is not None and not timeout_s > 0:
            raise ConfigurationError(f"timeout_s must be above 0, or None for no limit; got {timeout_s}.")
        if pixels is not None and pixels < 1:
            raise ConfigurationError(f"pixels must be 1 or more; got {pixels}.")
        self.spec, self.capabilities = spec, capabilities
        self.n, self.timeout_s, self.pixels = n, timeout_s, pixels or self.default_pixels
        self.cache = cache
        self._left_behind = LeftBehind(f"the image model {spec}")

    @abstractmethod
    def _draw(self, drawing: DrawingTask) -> Iterator[ImageEvent]:
        """Draw the variations in `drawing.seeds`; runs in a thread of its own.

        Call `drawing.check()` between steps. A picture that the model's own filter withheld has the flag `blocked`;
        raise `PictureBlocked` if there is nothing at all.
        """

    def _parameters(self) -> dict[str, Any]:
        """What decides how a picture looks besides spec, request and size; part of the cache's key."""
        return {}

    @property
    def parameters(self) -> dict[str, Any]:
        """The settings that decide how a picture looks besides spec, request and size."""
        return self._parameters()

    def invoke(self, input: ImageInput, config: RunnableConfig | None = None, **kwargs: Any) -> tuple[Picture, ...]:
        """Draw the variations of one request.

        Args:
            input: A `PromptSpec`, a sentence or an `ImageRequest`.
            config: The run's config.
            kwargs: Fields of the request, such as `n`, `seed`, `size`, `init_image` and `strength`.

        Raises:
            InvalidInputs: If the request is invalid, or asks for what the model cannot do.
            PictureBlocked: If the model's own filter withheld every variation.
            BackendError: If the model failed, or did not answer in time.
        """

        def run(value: ImageInput) -> tuple[Picture, ...]:
            return self._collect(list(self._iterate(value, kwargs, emits=False)))

        return self._call_with_config(run, input, config, run_type="chain")

    async def ainvoke(
        self, input: ImageInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> tuple[Picture, ...]:
        """Async version of `invoke`; canceling it stops the drawing."""

        async def run(value: ImageInput) -> tuple[Picture, ...]:
            return self._collect([event async for event in self._aiterate(value, kwargs, emits=False)])

        return await self._acall_with_config(run, input, config, run_type="chain")

    def stream(  # type: ignore[override]
        self, input: ImageInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[ImageEvent]:
        """Draw the variations of one request; yields events. Closing the iterator stops the drawing."""
        yield from self._iterate(input, kwargs)

    async def astream(  # type: ignore[override]
        self, input: ImageInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[ImageEvent]:
        """Async version of `stream`."""
        async with aclosing(self._aiterate(input, kwargs)) as events:
            async for event in events:
                yield event

    def transform(
        self, input: Iterator[ImageInput], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[tuple[Picture, ...]]:
        """Yield the finished variations, as a step of a chain that streams."""
        for value in input:
            yield self.invoke(value, config, **kwargs)

    async def atransform(
        self, input: AsyncIterator[ImageInput], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[tuple[Picture, ...]]:
        """Async version of `transform`."""
        async for value in input:
            yield await self.ainvoke(value, config, **kwargs)

    def vary(self, picture: Picture, *, strength: float = 0.5, **fields: Any) -> tuple[Picture, ...]:
        """Draw variations of a picture, image-to-image.

        Args:
            picture: The picture; its prompt is used again unless `fields` has another.
            strength: How far to change it, see `ImageRequest`.
            fields: Other fields of the request.
        """
        fields = {"prompt": picture.prompt, **fields}
        if self.capabilities.strength:
            fields["strength"] = strength
        return self.invoke(as_request(fields, {"init_image": picture}))

    def size_of(self, request: ImageRequest) -> tuple[int, int]:
        """Return the width and height in which a request is drawn.

        Raises:
            InvalidInputs: If the request names a size that the model cannot draw.
        """
        multiple = self.capabilities.size_multiple
        if request.size is None:
            if request.init_image is not None:
                width, height = request.init_image.width, request.init_image.height
                return size_for((width, height), pixels=width * height, multiple=multiple)
            return size_for(request.prompt.ratio, pixels=self.pixels, multiple=multiple)
        width, height = request.size
        if width % multiple or height % multiple:
            nearest = "x".join(str(max(multiple, round(side / multiple) * multiple)) for side in request.size)
            raise InvalidInputs(
                None,
                [f"size: {self.spec} draws sides that are multiples of {multiple}; got {width}x{height}"],
                hint=f"The nearest is {nearest}.",
            )
        limit = self.capabilities.max_pixels
        if limit is not None and width * height > limit:
            raise InvalidInputs(None, [f"size: {self.spec} draws up to {limit:,} pixels; got {width}x{height}"])
        return width, height

    def check_request(self, request: ImageRequest) -> None:
        """Check a request before anything runs.

        Raises:
            InvalidInputs: If it asks for what the model cannot do.
        """
        can = self.capabilities
        wanted = {
            "draw from a prompt alone": request.init_image is not None or can.text_to_image,
            "change a picture (init_image)": request.init_image is None or can.image_to_image,
            "change a part of a picture (mask)": request.mask is None or can.inpainting,
            "take a strength: say in the prompt what to change": request.strength is None or can.strength,
            f"follow {len(request.references)} reference pictures, only {can.references}": (
                len(request.references) <= can.references
            ),
        }
        if problems := [f"{self.spec} cannot {what}" for what, is_possible in wanted.items() if not is_possible]:
            able = [name for name, value in can if value is True]
            others = "" if can.image_to_image else " 'diffusers:...' and 'openai-image:...' change pictures."
            raise InvalidInputs(None, problems, hint=f"It can: {', '.join(able)}.{others}")

    def _iterate(self, value: ImageInput, fields: dict[str, Any], *, emits: bool = True) -> Iterator[ImageEvent]:
        canceled = threading.Event()
        work = self._work(self._checked(value, fields), canceled, emits=emits)
        return iterate_in_thread(work, canceled, self.timeout_s, self._left_behind)

    async def _aiterate(
        self, value: ImageInput, fields: dict[str, Any], *, emits: bool = True
    ) -> AsyncGenerator[ImageEvent, None]:
        canceled = threading.Event()
        work = self._work(self._checked(value, fields), canceled, emits=emits)
        async with aclosing(aiterate_in_thread(work, canceled, self.timeout_s, self._left_behind)) as events:
            async for event in events:
                yield event

    def _work(
        self, request: ImageRequest, canceled: threading.Event, *, emits: bool
    ) -> Callable[[Callable[[ImageEvent], None]], Iterator[ImageEvent]]:
        # A step's progress wakes the caller's thread, which costs more than a step's own calls of a small pipeline.
        if emits:
            return partial(self._events, request, canceled)
        return lambda _emit: self._events(request, canceled, lambda _event: None)

    def _checked(self, value: ImageInput, fields: dict[str, Any]) -> ImageRequest:
        request = as_request(value, fields)
        self.check_request(request)
        return request

    def _events(
        self, request: ImageRequest, canceled: threading.Event, emit: Callable[[ImageEvent], None]
    ) -> Iterator[ImageEvent]:
        """Yield what the cache holds, then draw the rest."""
        seeds = dict(enumerate(variation_seeds(request.seed, request.n or self.n)))
        size = self.size_of(request)
        keys = {index: self._cache_key(request, size, index, seed) for index, seed in seeds.items()}
        for index, key in keys.items() if self.cache is not None else ():
            if self.cache is not None and (picture := self.cache.get(key)) is not None:
                del seeds[index]
                yield FinishedPicture(index=index, picture=picture, cached=True)
        if not seeds:
            return
        for event in self._draw(DrawingTask(request, size, seeds, canceled, emit)):
            if isinstance(event, FinishedPicture) and self.cache is not None and not event.picture.flags:
                self.cache.put(keys[event.index], event.picture)
            yield event

    def _cache_key(self, request: ImageRequest, size: tuple[int, int], index: int, seed: int) -> str:
        # A model without seeds draws something else each time: its pictures are known by their place in the request.
        which = {"seed": seed} if self.capabilities.seed else {"seed": request.seed, "index": index}
        plain = request.model_copy(update={"n": None, "seed": None, "size": size})
        return plain.sha256(model=self.spec, parameters=self._parameters(), which=which)

    def _collect(self, events: list[ImageEvent]) -> tuple[Picture, ...]:
        finished = sorted((e for e in events if isinstance(e, FinishedPicture)), key=lambda e: e.index)
        pictures = tuple(event.picture for event in finished)
        if not pictures or all(picture.blocked for picture in pictures):
            raise PictureBlocked(f"{self.spec} withheld every picture: its own filter blocked them.")
        return pictures
