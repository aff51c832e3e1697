"""Frames in chunks beside what else acts in ComfyUI: other packs' patches, ControlNets, interrupts, little memory."""

from __future__ import annotations

import comfy.model_management
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from frameloom.host.comfyui import parts
from frameloom.tests.contract.test_chunks import FRAMES, close, in_chunks, pictures_at_once
from frameloom.tests.host.inside.control import controlled, controlnet, hinted
from frameloom.tests.host.inside.test_guests import census
from frameloom.tests.support.scene import SIDE

PLACES = (
    "emb_patch", "input_block_patch", "input_block_patch_after_skip", "middle_block_after_patch", "output_block_patch",
    "attn1_patch", "attn1_output_patch", "middle_patch", "attn2_patch", "attn2_output_patch", "attn1", "attn2",
)  # fmt: skip


class Guest:
    """Another pack's patch: it scales each picture by its number in the batch, and notes how many there are."""

    def __init__(self):
        self.seen = set()

    def scale(self, pictures):
        self.seen.add(len(pictures))
        factors = torch.linspace(0.9, 1.1, len(pictures))
        return pictures * factors.reshape(-1, *[1] * (pictures.ndim - 1))

    def one(self, pictures, *options):
        if "original_shape" in (told := options[-1]):
            self.seen.add(told["original_shape"][0])
        return self.scale(pictures)

    def three(self, query, key, value, _options):
        return self.scale(query), key, value

    def attend(self, query, key, value, options):
        heads = options["n_heads"]
        q, k, v = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (query, key, value))
        answer = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return self.scale(answer.transpose(1, 2).flatten(-2))

    def middle(self, told):
        return {**told, "h": self.scale(told["h"])}

    def skips(self, hidden, skip, _options):
        return hidden, self.scale(skip)

    def on(self, model, place):
        clone = model.clone()
        if place in ("attn1", "attn2"):
            replace = getattr(clone, f"set_model_{place}_replace")
            for number in (1, 2):
                replace(self.attend, "input", number)
            return clone
        does = {
            "attn1_patch": self.three,
            "attn2_patch": self.three,
            "output_block_patch": self.skips,
            "middle_block_after_patch": self.middle,
        }
        clone.set_model_patch(does.get(place, self.one), place)
        return clone


@pytest.mark.parametrize("place", PLACES)
def test_a_patch_that_counts_pictures_finds_all_of_them(port, demo, motion, scene, place):
    guests, moving = (Guest(), Guest()), scene.moving(demo[0], motion)
    wanted = scene.run(guests[0].on(moving, place), frames=FRAMES)
    close(scene.run(in_chunks(port, guests[1].on(moving, place), 2), frames=FRAMES), wanted)
    assert guests[0].seen == guests[1].seen
    assert guests[1].seen or place == "middle_block_after_patch"  # which old versions don't know


@pytest.mark.parametrize(
    "is_crossed", [False, True]
)  # frames read the first one's tokens, in ControlNets too
def test_controlnets_see_few_frames_and_their_residuals_go_to_their_own(
    port, demo, motion, scene, is_crossed
):
    moving = scene.moving(demo[0], motion)
    moving = scene.crossing(moving) if is_crossed else moving
    first, second = controlnet(1), hinted(controlnet(2), FRAMES)
    sides = controlled(scene, hinted(first, FRAMES, previous=second))
    asked = []
    handle = second.control_model.middle_block[0].register_forward_hook(
        lambda _, inputs, __: asked.append(len(inputs[0]))
    )
    wanted, whole = scene.run(moving, frames=FRAMES, **sides), asked.copy()
    asked.clear()
    close(scene.run(in_chunks(port, moving, 2), frames=FRAMES, **sides), wanted)
    handle.remove()
    assert set(whole) == {2 * FRAMES}
    assert set(asked) == {2, 4}  # the first part has one frame
    assert not torch.allclose(scene.run(moving, frames=FRAMES), wanted, atol=1e-2)


@pytest.mark.parametrize("at_once", [0, 2])
def test_core_makes_room_for_the_frames_that_go_at_once(port, demo, motion, scene, monkeypatch, at_once):
    told, model = [], scene.moving(demo[0], motion)
    model = in_chunks(port, model, at_once) if at_once else model

    def note(executor, model, noise_shape, *args, **kwargs):
        told.append(list(noise_shape))
        return executor(model, noise_shape, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, "test", note)
    scene.run(model, frames=FRAMES)
    room = model.model_size() + 1.01 * model.model.memory_required([3, 4, SIDE, SIDE])
    monkeypatch.setattr(parts, "_total", lambda _device: room)
    scene.run(model, frames=FRAMES)
    assert told == [[at_once or frames, 4, SIDE, SIDE] for frames in (FRAMES, 3)]


def test_an_interrupt_in_the_middle_of_a_chunk_ends_the_run_and_leaves_nothing(port, demo, motion, scene):
    moving = scene.moving(demo[0], motion)
    wanted, before = scene.run(moving, frames=FRAMES), census(demo[0].model.diffusion_model)
    asked = []

    def stop(_module, _inputs, _output):
        asked.append(True)
        if len(asked) == 5:  # of the second chunk
            raise comfy.model_management.InterruptProcessingException

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        interrupted(scene, in_chunks(port, moving, 2), stop)
    assert census(demo[0].model.diffusion_model) == before
    assert torch.equal(scene.run(moving, frames=FRAMES), wanted)


def interrupted(scene, model, stop):
    handle = model.model.diffusion_model.middle_block[0].register_forward_hook(stop)
    try:
        scene.run(model, frames=FRAMES)
    finally:
        handle.remove()


def test_chunks_are_as_long_as_there_is_room(demo, motion, scene, monkeypatch):
    moving = scene.moving(demo[0], motion)
    wanted, whole = pictures_at_once(demo[0], lambda: scene.run(moving, frames=FRAMES))
    sides = max(whole) // FRAMES
    room = 1.01 * 1.5 * moving.model.memory_required([2 * sides, 4, SIDE, SIDE])
    monkeypatch.setattr(parts, "_free", lambda _device: room)
    got, cut = pictures_at_once(demo[0], lambda: scene.run(moving, frames=FRAMES))
    close(got, wanted)
    assert max(cut) == 2 * sides
