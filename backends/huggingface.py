"""Any causal language model in Hugging Face layout, run by the library `transformers`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taleward.backends.frames import Instruction, Render, encode_text, frame
from taleward.backends.sampling import Sampler, Sampling
from taleward.core.errors import BackendError, MissingExtra

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SMALL = 100_000_000
"""Parameters below which a model on a CPU runs on one thread."""


class HuggingFace:
    """A causal language model with its tokenizer.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face hub.
        device: A torch device; `None` takes a GPU where there is one.

    Raises:
        BackendError: It could not be loaded.
        MissingExtra: The extra `local` is not installed.
    """

    def __init__(self, path: str, device: str | None = None) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise MissingExtra("a local model", "local") from error
        transformers.utils.logging.disable_progress_bar()
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(path)
            model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype="auto")
        except (OSError, ValueError) as error:
            raise BackendError(
                f"the model {path!r} could not be loaded: {str(error).strip().splitlines()[0]}",
                hint="Give a folder with config.json, weights and tokenizer, or the name of a model on the hub "
                "that is downloaded or can be. 'embedded:storyteller' needs neither.",
            ) from error
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if self._device.type == "cpu":
            model = model.float()
        self._model = model.to(self._device).eval()
        self._small = self._device.type == "cpu" and self._model.num_parameters() < _SMALL
        own = model.generation_config
        self.defaults = Sampling(
            temperature=(own.temperature or 1.0) if own.do_sample else 0.0,
            top_p=own.top_p or 1.0,
            repetition_penalty=own.repetition_penalty or 1.0,
            max_tokens=own.max_new_tokens or 512,
        )
        ends = own.eos_token_id
        self._ends = frozenset(ends if isinstance(ends, list) else [ends])
        self.context_length = int(model.config.max_position_embeddings)

    @property
    def chat_template(self) -> bool:
        """Whether the tokenizer brings one."""
        return bool(self._tokenizer.chat_template)

    def encode(self, text: str) -> list[int]:
        """A text's tokens; what looks like a control token is text."""
        return encode_text(self._tokenizer, text)

    def decode(self, tokens: Sequence[int], *, control: bool = False) -> str:
        """The text of some tokens; bytes that are no whole character become U+FFFD.

        Args:
            tokens: Numbers of tokens.
            control: Whether control tokens are spelled out; else they are left out.
        """
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=not control))

    def prompt(self, turns: Sequence[Mapping[str, Any]], **template: Any) -> list[int]:
        """The chat template's tokens; without a template, the texts joined by empty lines.

        What the turns say never becomes a control token.

        Args:
            turns: The conversation, with `role` and `content` each.
            template: What the model's own template takes beside the turns, for example `guideline`.

        Raises:
            BackendError: The template cannot be filled with these turns.
        """
        if self.chat_template:
            return self._templated(turns, {"add_generation_prompt": True, **template})
        ids = self.encode("\n\n".join(str(turn["content"]) for turn in turns))
        start = self._tokenizer.bos_token_id
        return ids if start is None else [start, *ids]

    def framed(self, render: Render, contents: Sequence[str]) -> list[int]:
        """The tokens of a prompt in a format of one's own, for a model that brings no chat template; see `frame`."""
        return frame(self._tokenizer, render, contents)

    def _templated(self, turns: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> list[int]:
        from jinja2 import TemplateError

        said = [str(turn["content"]) for turn in turns if not isinstance(turn["content"], Instruction)]

        def render(contents: Sequence[str], *, parts: bool) -> str:
            rest = iter(contents)
            filled: list[dict[str, Any]] = []
            for turn in turns:
                content = turn["content"] if isinstance(turn["content"], Instruction) else next(rest)
                filled.append({**turn, "content": [{"type": "text", "text": content}] if parts else content})
            return str(self._tokenizer.apply_chat_template(filled, tokenize=False, **options))

        try:
            return frame(self._tokenizer, lambda c: render(c, parts=False), said)
        except (BackendError, TemplateError, TypeError) as error:
            # Some templates (Llama Guard 3 1B, Llama Guard 4) take contents as lists of parts alone.
            try:
                return frame(self._tokenizer, lambda c: render(c, parts=True), said)
            except (BackendError, TemplateError, TypeError):
                raise BackendError(f"the chat template cannot be filled: {error}") from error

    def step(self, tokens: Sequence[int], cache: Any = None) -> tuple[npt.NDArray[np.float32], Any]:
        """What the model expects behind some tokens.

        Args:
            tokens: One or more tokens that follow those in the cache.
            cache: What an earlier step gave back; it is changed. `None` begins anew.

        Returns:
            The logits of the next token, shape (vocabulary,), and the cache of all tokens so far.
        """
        import torch
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config) if cache is None else cache
        with torch.inference_mode(), self._threads():
            out = self._model(
                input_ids=torch.tensor([list(tokens)], device=self._device),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            return out.logits[0, -1].float().cpu().numpy(), cache

    def write(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> list[int]:
        """All tokens after the prompt, up to the model's end token (not given out) or `most` of them."""
        return list(self.tokens(prompt, sampling, seed, most))

    async def awrite(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> list[int]:
        """As `write`, without blocking the event loop."""
        return [token async for token in self.atokens(prompt, sampling, seed, most)]

    async def atokens(
        self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int
    ) -> AsyncIterator[int]:
        """As `tokens`, without blocking the event loop."""
        running = self.tokens(prompt, sampling, seed, most)
        while (token := await asyncio.to_thread(next, running, None)) is not None:
            yield token

    def tokens(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> Iterator[int]:
        """As `write`, token by token."""
        sampler, fresh, cache = Sampler(sampling, seed, prompt), list(prompt), None
        for _ in range(most):
            logits, cache = self.step(fresh, cache)
            token = sampler.choose(logits)
            if token in self._ends:
                return
            yield token
            fresh = [token]

    @contextlib.contextmanager
    def _threads(self) -> Iterator[None]:
        """One thread for a small model: on a busy machine a second one waits longer than it helps."""
        import torch

        before = torch.get_num_threads()
        if not self._small or before == 1:
            yield
            return
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
