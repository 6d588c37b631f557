"""What is to know about one model before it is chosen: size, what fits, licence, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from core.numbers import count, gib
from tui.model_list import METHODS, SHOWN, Offer

if TYPE_CHECKING:
    from core.machine import Machine


def about(offer: Offer, machine: Machine, narrow: bool) -> Content:
    """A paragraph a fact in the panel at the right; joined to few lines where it lies under the list."""
    facts = [_size(offer), *_fits(offer), _kind(offer), *_rights(offer, machine), *_notes(offer)]
    facts = [fact for fact in facts if fact]
    if narrow:
        return Content(" · ").join(facts)
    head = Content.styled(offer.shown, "bold $primary")
    return Content("\n\n").join([head, *facts])


def _size(offer: Offer) -> Content:
    shape = offer.shape
    if shape is None:
        return Content("Enter looks at it: its size, and whether this machine and your login suffice")
    parts = [f"{count(shape.parameters)} parameters in {shape.layers} layers"]
    if shape.active_parameters < shape.parameters:
        parts.append(f"{count(shape.active_parameters)} of them for each token")
    if shape.context:
        parts.append(f"made for up to {count(shape.context)} tokens")
    return Content(", ".join(parts))


def _fits(offer: Offer) -> list[Content]:
    if not offer.needs:
        return []
    lines = []
    for method in (one for one in METHODS if one in offer.needs):
        need = offer.needs[method]
        fits = offer.fits is not None and method in offer.fits
        lines.append(
            Content.assemble(
                (f"{SHOWN[method]} ", "bold" if fits else "$foreground 60%"),
                (f"{gib(need)}", "$text-success" if fits else "$text-error"),
            )
        )
    head = Content.styled(f"needs at least (of {gib(offer.room)}): ", "$foreground 60%")
    return [Content.assemble(head, Content(" · ").join(lines))]


def _kind(offer: Offer) -> Content:
    if offer.chat is None:
        return Content("")
    if offer.chat:
        return Content("tuned to chat: it has a template and answers already")
    return Content("a base model: it continues text, and learns to answer from your data")


def _rights(offer: Offer, machine: Machine) -> list[Content]:
    facts = [Content(f"licence {offer.licence}")] if offer.licence else []
    if offer.gated:
        page = f"https://huggingface.co/{offer.model}"
        if machine.hub.token_found:
            todo = f"gated: accept its licence at {page} if you have not"
        else:
            todo = f"gated: accept its licence at {page}, then log in: hf auth login"
        facts.append(Content.styled(todo, "$text-warning"))
    return facts


def _notes(offer: Offer) -> list[Content]:
    facts = []
    size = offer.shape.weight_bytes if offer.shape else None
    if offer.note:
        facts.append(Content.styled(offer.note, "$foreground 60%"))
    elif size and not offer.model.startswith(("/", "~", ".")):
        facts.append(Content.styled(f"{gib(size)} to download", "$foreground 60%"))
    facts += [Content.styled(note, "$text-warning") for note in (offer.shape.notes if offer.shape else ())]
    return facts
