"""Which models the Model step offers, which of them fit this machine, and which one it would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from core.numbers import count

if TYPE_CHECKING:
    from core.machine import Machine
    from core.models.shape import ModelShape
    from core.plan.cards import Card
    from core.spec import Method

METHODS: tuple[Method, ...] = ("full", "lora", "qlora")
LEAST_LENGTH = 1024
"""Tokens of a row that the badges are reckoned for: enough for most question-and-answer data."""
SHOWN = {"full": "full", "lora": "LoRA", "qlora": "QLoRA"}
SUGGESTED = ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B", "Qwen/Qwen3-4B", "Qwen/Qwen3-8B")
"""Open licence, not gated, one family: what to take unless there is a reason, the smallest first."""

HERE, BARE = "on this machine", "no weights in it"
"""Notes of an offer: downloaded before; a folder that can be planned with and not trained."""

NAME, SIZE, BADGES, KIND = 33, 8, 17, 5
"""Widths of the columns of the list, in cells."""


@dataclass(frozen=True)
class Offer:
    """One line of the list. `model` is what the spec gets: a Hub id or a folder."""

    model: str
    shown: str
    group: str
    parameters: int | None = None
    shape: ModelShape | None = None
    needs: Mapping[str, int] | None = None
    """Method -> the least memory it takes, in bytes; None: not known before the model was looked at."""
    room: int = 0
    """Bytes free for it here."""
    chat: bool | None = None
    licence: str = ""
    gated: bool = False
    context: int | None = None
    note: str = ""

    @property
    def here(self) -> bool:
        """Whether it need not be downloaded."""
        return self.note == HERE or (self.model.startswith("/") and self.note != BARE)

    @property
    def fits(self) -> frozenset[str] | None:
        """Methods that fit this machine."""
        if self.needs is None:
            return None
        return frozenset(method for method, need in self.needs.items() if need <= self.room)


def catalogue_offers(card: Card) -> list[Offer]:
    """Every catalogue entry with what fits here. Some tens of milliseconds; meant for a thread."""
    from core.models.catalogue import catalogue
    from core.models.hub import cached_folder
    from core.models.shape import shape_from_config
    from core.plan.cards import room

    offers = []
    sizes: dict[int, tuple[ModelShape, dict[str, int]]] = {}  # many entries share one
    for entry in catalogue():
        if id(entry.config) not in sizes:
            shape = shape_from_config(entry.id, entry.config, hub=True)
            sizes[id(entry.config)] = shape, needs(shape, card)
        shape, least = sizes[id(entry.config)]
        shape = replace(shape, name=entry.id)
        offers.append(
            Offer(
                entry.id,
                entry.id,
                entry.family,
                entry.parameters,
                shape,
                least,
                room(card),
                entry.chat,
                entry.licence or "",
                bool(entry.gated),
                entry.context,
                HERE if cached_folder(entry.id) else "",
            )
        )
    return offers


def card_of(machine: Machine, gpus: str | list[int] = "auto") -> Card:
    """Where a run would compute here, as the plan sees it."""
    from core.plan.cards import card_here
    from core.spec import parse_spec

    return card_here(parse_spec({"model": "any", "data": "any", "gpus": gpus}), machine)


def needs(shape: ModelShape, card: Card) -> dict[str, int]:
    """Method that can be used on it -> the least it takes here: one row of `LEAST_LENGTH` tokens, everything
    recomputed."""
    from core.plan.memory import estimate

    gpu = card.kind == "gpu"
    return {
        method: estimate(
            shape,
            method,
            batch=1,
            length=LEAST_LENGTH,
            optimizer="adamw_8bit" if method == "full" and gpu else "adamw",
            precision=card.precision,
            on_gpu=gpu,
        ).total
        for method in METHODS
        if method in shape.tunable
    }


def folder_offer(folder: str, group: str, card: Card, shown: str = "") -> Offer | None:
    """A model's folder as an offer; None when it is no model that can be read."""
    from core.errors import UserError
    from core.models.shape import read_folder
    from core.plan.cards import room

    path = Path(folder).expanduser()
    try:
        shape = read_folder(path, folder)
    except UserError:
        return None
    note = "" if shape.has_weights else BARE
    shown = "the demo's own model" if group == "the demo" else shown or folder
    return Offer(
        folder,
        shown,
        group,
        shape.parameters,
        shape,
        needs(shape, card),
        room(card),
        shape.has_template,
        context=shape.context,
        note=note,
    )


def folders_near(here: Path) -> list[str]:
    """Folders that hold a model, here or one level below."""
    found = [here] if (here / "config.json").is_file() else []
    try:
        found += sorted(file.parent for file in here.glob("*/config.json"))
    except OSError:
        return []
    return [str(one) for one in found[:20]]


def demo_model() -> str:
    """The folder of the small base model that ships with finetui."""
    import core.demo

    return str(Path(core.demo.__file__).parent / "model")


def recommended(offers: Sequence[Offer], card: Card, aim: str | None, *, hub: bool = True) -> tuple[str, str]:
    """The model taken when nobody chooses, and why, in a line. `hub`: whether one can be downloaded."""
    by_name = {offer.model: offer for offer in offers}
    demo = demo_model()
    if card.kind == "cpu" and demo in by_name:
        return demo, "no GPU here: the demo's small model learns in minutes on this CPU, others take hours"
    if not hub:
        here = [offer for offer in offers if offer.here and "lora" in (offer.fits or ())]
        largest = max(here, key=lambda offer: offer.parameters or 0, default=None)
        why = "the Hub cannot be reached: the largest model on this machine that LoRA fits"
        return (largest.model if largest else demo), why
    fitting = [name for name in SUGGESTED if name in by_name and "lora" in (by_name[name].fits or ())]
    if not fitting:
        return (
            demo if demo in by_name else SUGGESTED[0]
        ), "little memory is free here, and it is the smallest"
    if aim == "try":
        return fitting[0], "small, so that the whole way is seen in minutes; open licence, no login needed"
    name, base = fitting[-1], f"{fitting[-1]}-Base"
    if aim == "chat" and base in by_name:
        return base, "the largest of its family that LoRA fits here, up to 8 B; a base model, as the aim asks"
    return name, "the largest of its family that LoRA fits here, up to 8 B; open licence, no login needed"


def matches(offer: Offer, text: str) -> bool:
    """Every word typed stands in the offer's name, family or note."""
    held = f"{offer.model} {offer.group} {offer.note} {'chat' if offer.chat else 'base'}".lower()
    return all(word in held for word in text.lower().split())


def looks_typed(text: str) -> bool:
    """Whether what is typed may be a folder or a Hub id rather than words to search by."""
    return "/" in text or text.startswith(("~", ".")) or Path(text).is_dir()


def line(offer: Offer, star: bool, width: int) -> Content:
    """One line of at most `width` cells: name, size, what fits, chat or base, and what must be known."""
    name = offer.shown if len(offer.shown) < NAME else "…" + offer.shown[-(NAME - 2) :]
    # the end of a name tells more than its beginning
    pieces: list[tuple[str, str] | str] = [("★ " if star else "  ", "bold $warning"), f"{name:<{NAME}}"]
    pieces.append((f"{count(offer.parameters) if offer.parameters else '':>{SIZE - 2}}  ", "bold"))
    pieces += badges(offer.fits)
    kind = "" if offer.chat is None else "chat" if offer.chat else "base"
    pieces.append((f"{kind:<{KIND}}", "$foreground 60%"))
    if offer.gated:
        pieces.append(("gated ", "$text-warning"))
    if offer.note:
        pieces.append((offer.note, "$foreground 60%"))
    return Content.assemble(*pieces).truncate(width, ellipsis=True)


def badges(fits: frozenset[str] | None) -> list[tuple[str, str] | str]:
    """Which methods fit, each in its own column, so that the eye runs down one."""
    if fits is None:
        return [(f"{'? Enter looks':<{BADGES}}", "$foreground 35%")]
    if not fits:
        return [(f"{'too large here':<{BADGES}}", "$text-error")]
    pieces: list[tuple[str, str] | str] = []
    for method in METHODS:
        wide = len(SHOWN[method]) + 1
        shown = SHOWN[method] if method in fits else "–"
        pieces.append((f"{shown:<{wide}}", "$text-success" if method in fits else "$foreground 35%"))
    return [*pieces, " "]
