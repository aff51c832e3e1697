"""A layout of one or two entities on a clip, for tests of either host."""

from __future__ import annotations

import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.layout.attention import BoxBias, BoxGather, Layout, Reading, Region
from frameloom.models.layout.energy import BoxEnergy

PROMPT = "a red circle and a blue cross on navy"
SPANS = ([(1, 4)], [(5, 8)])  # of the circle and of the cross among the prompt's tokens
CIRCLE = ((0.05, 0.1, 0.35, 0.45), (0.6, 0.1, 0.9, 0.45))  # at the first and at the last frame
CROSS = ((0.55, 0.6, 0.95, 0.9), (0.1, 0.6, 0.5, 0.9))


def track(first, last, frames, absent=()):
    """Boxes on a line, and where the entity is present."""
    part = torch.linspace(0, 1, frames)[:, None]
    present = torch.ones(frames, dtype=torch.bool)
    present[list(absent)] = False
    return (torch.tensor(first) + part * (torch.tensor(last) - torch.tensor(first))) * present[
        :, None
    ], present


def lay_out(port, clip, frames=4, boxes=(CIRCLE, CROSS), absent=()):
    """The prompt's condition with its layout."""
    conditioning, _ = port.encode_text(clip, PROMPT)
    regions = tuple(
        Region(spans, (track(*box, frames, absent),)) for spans, box in zip(SPANS, boxes, strict=False)
    )

    def tokens(*gone):
        return port.encode_without(clip, PROMPT, [span for spans in gone for span in spans])[0][0]

    circle, cross = tokens(SPANS[1]), tokens(SPANS[0])
    alone = [
        Reading(circle, (regions[0],)),
        *(Reading(cross, (Region([(2, 5)], each.tracks),)) for each in regions[1:]),
    ]
    layout = Layout(Reading(conditioning[0][0], regions), Reading(tokens(*SPANS)), tuple(alone))
    return [[conditioning[0][0], {**conditioning[0][1], "frameloom": layout.payload()}]]


def whole_layout(tokens, bare, frames):
    """One entity, named by the prompt's second and third token, whose prompt is the whole one."""
    region = Region([(2, 4)], (track(*CIRCLE, frames),))
    whole = Reading(tokens, (region,))
    return Layout(whole, Reading(bare), (whole,))


def obey(port, model, strength=8.0, end_percent=1 / 3, gather_percent=None):
    """The model with the bias, and with the gathering where it has an end."""
    gather = None if gather_percent is None else BoxGather(end_percent, gather_percent)
    return port.install(
        model, Edit("layout", cross_attention=BoxBias(strength, end_percent), conditions=gather)
    )


def guide(port, model, strength=100.0, end_percent=1.0):
    """The model guided by the energy of its attention, in every step."""
    return port.install(model, Edit("layout", guide=BoxEnergy(strength, end_percent)))
