"""Context windows in ComfyUI: ControlNets' hints, which ComfyUI itself leaves as they are, and room in memory."""

from __future__ import annotations

import comfy.controlnet
import comfy.patcher_extension
import pytest
import torch
from frameloom.models.errors import HostError
from frameloom.models.files.keys import hash_settings
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.contract.test_windows import PLANS
from frameloom.tests.host.inside.control import (
    adapter,
    assert_untouched,
    attributes_of,
    controlled,
    controlnet,
    hinted,
    network,
)
from frameloom.tests.host.inside.core import in_cores_windows
from frameloom.tests.support.tensors import apart

FRAMES = 6
PLAN = PLANS[2]  # looped: its windows are others in every step


def control_lora(seed):
    """The UNet's own layers, and a ControlNet's that it lacks."""
    kept = ("input_hint_block", "zero_convs", "middle_block_out")
    state = network(seed).state_dict()
    return comfy.controlnet.ControlLora(
        {name: value for name, value in state.items() if name.startswith(kept)}
    )


class FollowsWindows(comfy.controlnet.ControlNet):
    """A ControlNet that takes a window's hints by itself, in the way Advanced-ControlNet's do.

    As theirs, it carries its methods with it, and goes by what it remembers of earlier calls.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.sub_idxs, self.asked = None, 0
        self.get_control = self.follow

    def follow(self, x_noisy, t, cond, batched_number, transformer_options):
        told = transformer_options["ad_params"]
        assert (told["full_length"], told["context_length"]) == (FRAMES, len(told["sub_idxs"]))
        self.asked += 1
        whole, self.cond_hint = self.cond_hint_original, None
        self.cond_hint_original = whole[told["sub_idxs"]]
        try:
            return super().get_control(x_noisy, t, cond, batched_number, transformer_options)
        finally:
            self.cond_hint_original = whole


def follower(seed):
    return controlnet(seed, FollowsWindows)


def link(make=controlnet, seed=2, frames=FRAMES, previous=None):
    return hinted(make(seed), frames, seed, previous)


LINKS = {
    "ControlNet": link,
    "T2I-adapter": lambda: link(adapter),
    "chain of both": lambda: link(seed=5, previous=link(adapter)),
    "one hint": lambda: link(frames=1),
    "hints again": lambda: link(frames=4),
    "Control-LoRA": lambda: link(control_lora),
}


def run(scene, model, link):
    return scene.run(model, frames=FRAMES, **controlled(scene, link))


@pytest.fixture(scope="module")
def wanted(scene, demo):
    """What a ControlNet makes of the clip as a whole."""
    with torch.inference_mode():
        return run(scene, demo[0], link())


@pytest.mark.parametrize("kind", LINKS)
def test_hints_arrive_at_their_frames(scene, demo, kind):
    made = LINKS[kind]()
    plain, before = run(scene, demo[0], made), attributes_of(made)
    assert apart(plain, scene.drawn(demo[0], FRAMES)) > 1e-2
    assert apart(run(scene, scene.windowed(demo[0], PLAN), made), plain) <= 1e-4
    assert_untouched(made, before)


def test_comfyui_alone_gives_every_window_the_first_hints(scene, demo, wanted):
    """Why there is something to mend: this fails when ComfyUI mends it."""
    assert apart(run(scene, in_cores_windows(demo[0]), link()), wanted) > 1e-3
    # With any of our edits on the model, its own windows are right, too.
    edited = in_cores_windows(scene.windowed(demo[0], WindowPlan()))
    assert apart(run(scene, edited, link()), wanted) <= 1e-4


def test_conditions_that_share_a_controlnet_still_share_a_batch(scene, demo):
    made, batches = link(), []
    handle = made.control_model.register_forward_pre_hook(
        lambda _, __, options: batches.append(len(options["x"])), with_kwargs=True
    )
    run(scene, scene.windowed(demo[0], PLANS[0]), made)
    handle.remove()
    assert set(batches) == {8}  # positive and negative, four frames


def test_an_object_that_follows_windows_by_itself_is_told_of_them(scene, demo, wanted):
    made = link(follower)
    assert apart(run(scene, scene.windowed(demo[0], PLAN), made), wanted) <= 1e-4
    assert made.asked == sum(len(PLAN.windows(FRAMES, step)) for step in range(3))  # it knows of every call


@pytest.mark.parametrize("kinds", [(follower, controlnet), (controlnet, follower)], ids=["over", "under"])
def test_such_an_object_and_another_may_be_chained(scene, demo, kinds):
    def chain(last, first):
        return link(last, 5, previous=link(first))

    plain, made = run(scene, demo[0], chain(controlnet, controlnet)), chain(*kinds)
    before = made.previous_controlnet
    assert apart(run(scene, scene.windowed(demo[0], PLAN), made), plain) <= 1e-4
    assert made.previous_controlnet is before


def test_such_an_object_is_refused_where_a_clip_is_sampled_in_parts(port, scene):
    positive = controlled(scene, link(seed=5, previous=link(follower)))["positive"]
    said = r"Advanced-ControlNet's FollowsWindows for a clip .* in parts; expected"
    with pytest.raises(HostError, match=said):
        port.select_frames(positive, [0, 3])


def test_windows_need_memory_for_a_window(scene, demo):
    """What ComfyUI makes room for before it samples."""
    asked = []

    def note(execute, patcher, shape, *rest, **options):
        asked.append(list(shape))
        return execute(patcher, shape, *rest, **options)

    model = scene.windowed(demo[0], PLANS[0])
    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREPARE_SAMPLING, "test", note)
    scene.run(model, frames=FRAMES)
    assert asked == [[4, 4, 8, 8]]


def test_what_stands_for_a_condition_goes_by_its_controlnets_hints_strength_and_range(port, scene):
    def key(**settings):
        made = hinted(controlnet(5), FRAMES, **settings)
        return hash_settings(conditions=port.describe(controlled(scene, made)["positive"]))

    one, other = ({"previous": link(seed=seed)} for seed in (2, 3))
    assert key(**one) == key(**one)
    changes = one, other, {}, {"seed": 6}, {"strength": 0.6}, {"percents": (0.0, 0.5)}
    assert len({key(**settings) for settings in changes}) == 6
