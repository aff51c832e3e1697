"""Context windows in ComfyUI: their contract, and ControlNets' hints, which ComfyUI itself leaves as they are."""

from __future__ import annotations

import comfy.context_windows
import comfy.controlnet
import comfy.model_management
import comfy.patcher_extension
import comfy.t2i_adapter.adapter
import pytest
import torch
from frameloom.models.errors import HostError
from frameloom.models.files.keys import hash_settings
from frameloom.models.network.sizes import DEMO
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.contract.test_windows import FRAMES, PLANS, apart, windowed
from frameloom.tests.host.inside.test_cross_frame_control import network

HINT_GAIN = 50.0
SIDE = 128  # pixels of the latents of a Scene


def hints(seed=2, frames=FRAMES):
    """Pictures that are each their frame's number all over, with some noise."""
    noise = torch.rand(frames, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) / 20
    return torch.arange(frames)[:, None, None, None] / frames + noise


def adapter(seed):
    net = comfy.t2i_adapter.adapter.Adapter(
        cin=3 * 64, channels=list(DEMO.unet.widths), nums_rb=1, ksize=1, sk=True, use_conv=False,
        xl=False,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    for value in net.parameters():
        value.copy_(torch.randn(value.shape, generator=generator) / max(1, value[0].numel()) ** 0.5)
    return comfy.controlnet.T2IAdapter(net.eval(), 3, 8, "nearest-exact")


def hinted(seed):
    """A network that a hint changes: of one, random convolutions leave little."""
    net = network(seed)
    net.input_hint_block[-1].weight.mul_(HINT_GAIN)
    return net


def controlnet(seed):
    return comfy.controlnet.ControlNet(hinted(seed), load_device=comfy.model_management.get_torch_device())


def control_lora(seed):
    """The UNet's own layers, and a ControlNet's that it lacks."""
    kept = ("input_hint_block", "zero_convs", "middle_block_out")
    state = hinted(seed).state_dict()
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


def one(seed=2, make=controlnet, previous=None):
    made = make(seed)
    made.set_cond_hint(hints(seed), 0.7, (0.0, 1.0))
    return made if previous is None else made.set_previous_controlnet(previous)


@pytest.fixture(
    scope="module",
    params=["ControlNet", "T2I-adapter", "chain of both", "one hint", "hints again", "Control-LoRA"],
)
def link(request):
    with torch.inference_mode():
        if request.param == "ControlNet":
            return one()
        if request.param == "T2I-adapter":
            return one(make=adapter)
        if request.param in ("one hint", "hints again"):
            given = hints(frames=1 if request.param == "one hint" else 4)
            return controlnet(4).set_cond_hint(given, 0.7, (0.0, 1.0))
        if request.param == "Control-LoRA":
            return one(make=control_lora)
        return one(5, previous=one(make=adapter))


def run(scene, model, link, frames=FRAMES):
    positive, negative = (
        [[tokens, {**options, "control": link}] for tokens, options in side]
        for side in (scene.positive, scene.negative)
    )
    return scene.port.sample(
        model,
        positive,
        negative,
        {"samples": torch.zeros(frames, 4, 16, 16)},
        noise=scene.noise(frames),
        sigmas=scene.port.sigmas(model, 3, "normal"),
        sampler="euler",
        cfg=3.0,
    )["samples"]


@pytest.mark.parametrize("plan", PLANS[:4], ids=lambda plan: plan.schedule)
def test_hints_arrive_at_their_frames(port, scene, demo, link, plan):
    plain = run(scene, demo[0], link)
    assert apart(plain, scene.run(demo[0], frames=FRAMES)) > 1e-2
    assert apart(run(scene, windowed(port, demo[0], plan), link), plain) <= 1e-4


def test_comfyui_alone_gives_every_window_the_first_hints(port, scene, demo):
    """Why there is something to mend: this fails when ComfyUI mends it."""
    model = demo[0].clone()
    model.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
        context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=comfy.context_windows.get_matching_fuse_method("pyramid"),
        context_length=4,
        context_overlap=2,
    )
    plain, reused = run(scene, demo[0], one()), run(scene, model, one())
    assert apart(reused, plain) > 1e-2
    # With any of our edits on the model, its own windows are right, too.
    edited = windowed(port, demo[0], WindowPlan())
    edited.model_options["context_handler"] = model.model_options["context_handler"]
    assert apart(run(scene, edited, one()), plain) <= 1e-4


def test_conditions_that_share_a_controlnet_still_share_a_batch(port, scene, demo):
    link, batches = one(), []
    handle = link.control_model.register_forward_pre_hook(
        lambda _, __, options: batches.append(len(options["x"])), with_kwargs=True
    )
    run(scene, windowed(port, demo[0], PLANS[0]), link)
    handle.remove()
    assert set(batches) == {8}  # positive and negative, four frames


def follower(seed):
    return FollowsWindows(hinted(seed), load_device=comfy.model_management.get_torch_device())


@pytest.mark.parametrize("plan", PLANS[:4], ids=lambda plan: plan.schedule)
def test_an_object_that_follows_windows_by_itself_is_told_of_them(port, scene, demo, plan):
    plain, made = run(scene, demo[0], one()), one(make=follower)
    assert apart(run(scene, windowed(port, demo[0], plan), made), plain) <= 1e-4
    assert made.asked == sum(len(plan.windows(FRAMES, step)) for step in range(3))  # it knows of every call


@pytest.mark.parametrize("kinds", [(follower, controlnet), (controlnet, follower)], ids=["over", "under"])
def test_such_an_object_and_another_may_be_chained(port, scene, demo, kinds):
    def chain(last, first):
        return one(5, make=last, previous=one(make=first))

    plain, made = run(scene, demo[0], chain(controlnet, controlnet)), chain(*kinds)
    assert apart(plain, run(scene, demo[0], one(5))) > 1e-2
    before = made.previous_controlnet
    assert apart(run(scene, windowed(port, demo[0], PLANS[0]), made), plain) <= 1e-4
    assert made.previous_controlnet is before


def test_such_an_object_is_refused_where_a_clip_is_sampled_in_parts(port, scene):
    tokens, options = scene.positive[0]
    positive = [[tokens, {**options, "control": one(5, previous=one(make=follower))}]]
    with pytest.raises(
        HostError, match=r"Advanced-ControlNet's FollowsWindows for a clip .* in parts; expected"
    ):
        port.select_frames(positive, [0, 3])


def test_a_users_controlnet_stays_as_it_was(port, scene, demo):
    link = one(5, previous=one(make=adapter))
    before = [dict(vars(each)) for each in (link, link.previous_controlnet)]
    run(scene, windowed(port, demo[0], PLANS[0]), link)
    for each, attributes in zip((link, link.previous_controlnet), before, strict=True):
        kept = {name for name in vars(each) if name != "model_sampling_current"}  # ComfyUI's own
        assert all(
            vars(each)[name] is attributes[name] or vars(each)[name] == attributes[name] for name in kept
        )


def test_windows_need_memory_for_a_window(port, scene, demo):
    """What ComfyUI makes room for before it samples."""
    asked = []

    def note(execute, patcher, shape, *rest, **options):
        asked.append(list(shape))
        return execute(patcher, shape, *rest, **options)

    model = windowed(port, demo[0], PLANS[0])
    kind = comfy.patcher_extension.WrappersMP.PREPARE_SAMPLING
    model.add_wrapper_with_key(kind, "test", note)
    scene.run(model, frames=FRAMES)
    assert asked == [[4, 4, 16, 16]]


def test_what_stands_for_a_condition_goes_by_its_controlnets_hints_strength_and_range(port, scene):
    tokens, options = scene.positive[0]

    def key(control):
        return hash_settings(conditions=port.describe([[tokens, {**options, "control": control}]]))

    def hinted_by(seed, strength=0.7, percents=(0.0, 1.0)):
        return controlnet(5).set_cond_hint(hints(seed), strength, percents)

    first = key(one(5, previous=one(make=adapter)))
    assert key(one(5, previous=one(make=adapter))) == first
    others = [
        hinted_by(5),
        hinted_by(6),
        hinted_by(5, 0.6),
        hinted_by(5, percents=(0.0, 0.5)),
        one(5, previous=one(3)),
    ]
    assert len({first, *map(key, others)}) == 6
