"""Run the small workflows of ``sampling_cases`` node by node; used in both hosts, so it imports neither."""

from __future__ import annotations

import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.layout.attention import BoxBias, BoxGather
from frameloom.models.layout.energy import BoxEnergy
from frameloom.models.layout.gligen import GROUNDING, GligenEdit, Grounding
from frameloom.models.long_video.free_init import NoiseReinit
from frameloom.models.long_video.free_noise import NoiseShuffle, WindowFusion
from frameloom.models.long_video.prompt_travel import plan_travel, travel_conditions
from frameloom.models.motion.edit import motion_edit
from frameloom.models.video.windows import WindowPlan
from frameloom.models.zero_shot.cross_frame import CrossFrameEdit
from frameloom.tests.support.layout import whole_layout


def given(case):
    """The latent and the picture that a case starts from."""
    generator = torch.Generator().manual_seed(5)
    latent = {"samples": torch.randn(3, 4, 16, 16, generator=generator) * 4}
    if case.get("masked"):
        latent["noise_mask"] = torch.rand(3, 1, 40, 40, generator=generator)
    if "batch_index" in case:
        latent["batch_index"] = case["batch_index"]
    return latent, torch.rand(2, 71, 83, 3, generator=generator)


def hints():
    """Batches of pictures by their length, of another shape than the latents'."""
    pictures = torch.rand(6, 96, 160, 3, generator=torch.Generator().manual_seed(6))
    return {f"hints-{count}": (pictures[:count],) for count in (1, 2, 3, 5, 6)}


def masks():
    """Masks by their number, of another shape than the latents."""
    drawn = torch.rand(5, 40, 56, generator=torch.Generator().manual_seed(8))
    return {f"masks-{count}": (drawn[:count],) for count in (1, 2, 3, 5)}


def carry_boxes(conditioning):
    """A condition with a box that moves over three frames."""
    places = torch.tensor([[0.1, 0.2, 0.5, 0.6], [0.3, 0.3, 0.7, 0.8], [0.5, 0.1, 1.0, 0.5]])
    text = torch.randn(1, 768, generator=torch.Generator().manual_seed(7))
    boxes = Grounding(places[:, None], torch.ones(3, 1, dtype=torch.bool), text)
    return set_options(conditioning, {"frameloom": {GROUNDING: boxes}})


def set_options(conditioning, options):
    """A condition with further options, as nodes of both hosts hang them on."""
    return ([[tokens, already | options] for tokens, already in conditioning],)


def join(one, other):
    """Two lists of conditions as one."""
    return ([*one, *other],)


def travel(first, last):
    """One prompt at the first of three frames, another at the last."""
    keys = {0: "first", 2: "last"}
    encoded = {"first": first, "last": last}
    return (travel_conditions(encoded, keys, plan_travel(keys, 3, "linear")),)


LOCAL = {"set_options": set_options, "join": join, "carry_boxes": carry_boxes, "travel": travel}
"""Steps that neither host needs for what they do to conditions."""


def run(case, sockets, call, install):
    """Return the first result of node ``out`` as a tensor.

    ``sockets``: results that are there already, by name; ``call(class_type, inputs)`` runs one node;
    ``install(model, edit)`` is the port's.
    """

    def cross_frames(model, levels, **options):
        edit = CrossFrameEdit(**options, levels=frozenset(map(int, levels)))
        return (install(model, Edit("cross-frame attention", self_attention=edit)),)

    def lay_out(model, conditioning, bare, gather_percent):
        layout = whole_layout(conditioning[0][0], bare[0][0], frames=3)
        edit = Edit(
            "layout",
            cross_attention=BoxBias(),
            conditions=gather_percent and BoxGather(1 / 3, gather_percent),
        )
        return install(model, edit), set_options(conditioning, {"frameloom": layout.payload()})[0]

    def guide(model, conditioning, bare):
        laid_out = lay_out(model, conditioning, bare, None)[1]
        return install(model, Edit("layout", guide=BoxEnergy(100.0, 0.6))), laid_out

    def animate(model, motion):
        return (install(model, motion_edit("motion module", motion)),)

    def free_noise(model, length, stride, noise=True, fusion=True):
        edit = Edit(
            "FreeNoise",
            noise=NoiseShuffle(length, stride) if noise else None,
            time=WindowFusion(length, stride) if fusion else None,
        )
        return (install(model, edit),)

    def free_init(model, iterations, **settings):
        edit = Edit("FreeInit", run=NoiseReinit(iterations, **settings))
        return (install(model, edit),)

    def in_windows(model, **plan):
        return (install(model, Edit("context windows", windows=WindowPlan(**plan))),)

    def ground(model, network, end_percent=1.0, strength=1.0):
        return (install(model, Edit("GLIGEN", between=GligenEdit(network, end_percent, strength))),)

    local = {**LOCAL, "cross_frames": cross_frames, "lay_out": lay_out, "guide": guide, "ground": ground}
    local |= {"animate": animate, "free_noise": free_noise, "free_init": free_init, "in_windows": in_windows}
    results = {"given": given(case), **hints(), **masks(), **sockets}

    def result(name):
        if name not in results:
            node = case["workflow"][name]
            inputs = {
                key: result(value[0])[value[1]] if isinstance(value, list) else value
                for key, value in node["inputs"].items()
            }
            kind = node["class_type"]
            results[name] = local[kind](**inputs) if kind in local else call(kind, inputs)
        return results[name]

    value = result("out")[0]
    if isinstance(value, dict):
        return value["samples"]
    return (
        torch.cat([value[0][0].flatten(), value[0][1]["pooled_output"].flatten()])
        if isinstance(value, list)
        else value
    )
