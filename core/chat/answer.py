"""One answer: the conversation made to fit, the model asked token by token, text sent on as it comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import GenerationConfig

from core.chat.stream import Pieces, Stops
from core.chat.talk import Done, Message, Settings, Side
from core.chat.weights import Voice, Weights
from core.errors import UserError

LEAST_ROOM = 4  # an answer is promised at least a quarter of the context, or its most tokens if less


def answer(
    weights: Weights,
    side: Side,
    messages: list[Message],
    settings: Settings,
    say: Callable[[str], None],
    note: Callable[[str], None],
    asked: threading.Event,
) -> Done:
    """Stream an answer through `say`; `asked` ends it early. Blocks until it is whole."""
    voice = weights.voice(side)
    ids, left_out = fit(voice, messages, settings.max_tokens)
    if left_out:
        turns = "the oldest turn was" if left_out == 1 else f"the {left_out} oldest turns were"
        note(f"{turns} left out: this model reads {voice.context:,} tokens")
    room = settings.max_tokens
    if voice.context is not None:
        room = min(room, voice.context - len(ids))
    started = time.monotonic()
    flow = _Flow(voice, settings, say, asked)
    device = voice.model.device
    prompt = torch.tensor([ids], device=device)
    with weights.speaking(side):
        voice.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=GenerationConfig(
                max_new_tokens=room,
                do_sample=False,  # `choose` has drawn already; its own generator makes seeds hold
                eos_token_id=sorted(voice.ends),
                pad_token_id=min(voice.ends),
            ),
            logits_processor=[Choose(settings, device)],
            stopping_criteria=[flow.is_over],
            streamer=flow,
        )
    flow.finish()
    return Done(flow.text, flow.stopped, flow.tokens, time.monotonic() - started)


def fit(voice: Voice, messages: list[Message], most: int) -> tuple[list[int], int]:
    """The prompt's ids, and how many of the oldest turns had to go for it to fit with room to answer.

    The system turn and the last one stay. UserError when these two alone are too long.
    """
    system = [turn for turn in messages[:1] if turn["role"] == "system"]
    turns = messages[len(system) :]
    kept = turns
    while True:
        ids = voice.prompt([*system, *kept])
        if voice.context is None or len(ids) + min(most, voice.context // LEAST_ROOM) <= voice.context:
            return ids, len(turns) - len(kept)
        if len(kept) == 1:
            if len(ids) < voice.context:  # what room there is must do
                return ids, len(turns) - len(kept)
            raise UserError(
                "this message is too long",
                f"it has {len(ids):,} tokens with its template, the model reads {voice.context:,}",
                "shorten it",
            )
        kept = kept[1:]
        while len(kept) > 1 and kept[0]["role"] != "user":
            kept = kept[1:]  # templates want a conversation to begin with the user


class Choose:
    """Leaves only the token to be taken in the scores (1 x vocabulary) of the next one."""

    def __init__(self, settings: Settings, device: Any):
        self._settings = settings
        self._generator = torch.Generator(device)
        if settings.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(settings.seed)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if torch.isnan(scores).any():
            raise UserError(
                "the model answers nonsense numbers",
                "its scores are not numbers, so its weights are damaged or the training diverged",
                "try an earlier checkpoint",
                code=1,
            )
        if self._settings.temperature == 0:
            return scores
        chances = torch.softmax(scores.float() / self._settings.temperature, dim=-1)
        ranked, order = chances.sort(dim=-1, descending=True)
        ranked[ranked.cumsum(dim=-1) - ranked >= self._settings.top_p] = 0  # the first always stays
        drawn = order.gather(-1, torch.multinomial(ranked, 1, generator=self._generator))
        return torch.full_like(scores, float("-inf")).scatter_(-1, drawn, 0.0)


class _Flow:
    """Takes tokens as `generate` makes them (its streamer), and says when to stop (its criterion)."""

    def __init__(self, voice: Voice, settings: Settings, say: Callable[[str], None], asked: threading.Event):
        self.text = ""
        self.tokens = 0
        self._ends, self._say, self._asked = voice.ends, say, asked
        self._pieces, self._stops = Pieces(voice.decode), Stops(list(settings.stop))
        self._prompt_came = False
        self._ended = False

    def put(self, ids: Any) -> None:
        if not self._prompt_came:  # generate's first gift is the prompt itself
            self._prompt_came = True
            return
        token = int(ids.reshape(-1)[0])
        if token in self._ends:
            self._ended = True
            return
        self.tokens += 1
        self._show(self._stops.add(self._pieces.add(token)))

    def end(self) -> None:
        """Nothing to do: `finish` says what was held back."""

    def is_over(self, ids: Any, scores: Any, **_: Any) -> Any:
        over = self._asked.is_set() or self._stops.found
        return torch.full((ids.shape[0],), over, device=ids.device, dtype=torch.bool)

    def finish(self) -> None:
        self._show(self._stops.add(self._pieces.rest()))
        self._show(self._stops.rest())

    @property
    def stopped(self) -> Any:
        if self._ended or self._stops.found:
            return "end"
        return "asked" if self._asked.is_set() else "length"

    def _show(self, text: str) -> None:
        if text:
            self.text += text
            self._say(text)
