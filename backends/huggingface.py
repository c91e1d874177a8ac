"""Any causal language model in Hugging Face layout, run by the library `transformers`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from taleward.backends.sampling import Sampler, Sampling
from taleward.core.errors import BackendError, MissingExtra

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
        return list(self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of some tokens; bytes that are no whole character become U+FFFD."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def prompt(self, turns: Sequence[Mapping[str, Any]]) -> list[int]:
        """The chat template's tokens; without a template, the texts joined by empty lines."""
        if self.chat_template:
            encoded = self._tokenizer.apply_chat_template(list(turns), add_generation_prompt=True, return_dict=True)
            return list(encoded["input_ids"])
        ids = self.encode("\n\n".join(str(turn["content"]) for turn in turns))
        start = self._tokenizer.bos_token_id
        return ids if start is None else [start, *ids]

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
        import torch
        from transformers import DynamicCache

        sampler, fresh = Sampler(sampling, seed, prompt), list(prompt)
        cache = DynamicCache(config=self._model.config)
        for _ in range(most):
            with torch.inference_mode(), self._threads():
                out = self._model(
                    input_ids=torch.tensor([fresh], device=self._device),
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                logits = out.logits[0, -1].float().cpu().numpy()
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
