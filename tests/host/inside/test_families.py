"""Every node that takes a model, a text encoder, a VAE, latents or prompts, on families that are not SD1.5."""

from __future__ import annotations

from types import SimpleNamespace

import comfy.nested_tensor
import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.motion.camera_moves import move_camera, parse_moves
from frameloom.models.motion.sparse_control import SparseNetwork
from frameloom.models.motion.sparse_network import SparseSize
from frameloom.models.video.noise import FrameNoise
from frameloom.models.video.windows import WindowPlan
from frameloom.models.zero_shot.motion_path import translation
from frameloom.tests.contract.test_nuwa import FILLING, SAMPLING, plan
from frameloom.tests.host.inside.tiny_models import MODELS, VIDEO, build, text_encoder
from frameloom.tests.support.input_table import sockets_of, widget_values
from frameloom.tests.support.storyboard_graph import BOARD

FRAMES = 4
WATCHED = {"MODEL", "CLIP", "VAE", "LATENT", "CONDITIONING"}
SCENE = BOARD.model_copy(update={"scenes": BOARD.scenes[2:]})
# Values of widgets that have no default, or one that another value of this walk does not go with.
VALUES = {
    "ForegroundMask": {"prompt": "a red circle", "phrase": "red circle"},
    "LayoutConditioning": {"method": "bias"},
    "NuwaInterpolate": SAMPLING | FILLING,
    "NuwaKeyframes": SAMPLING | {"shared_attention": 0.0},
    "PromptTravel": {"text": "0: a red circle\n3: a blue cross", "frames": FRAMES},
}

WAN = ["Wan", "Wan, image to video", "Wan 2.2 5B"]
# Nodes that take a model of video, which files of their own test.
TAKEN = {
    family: {"ContextWindows", "LayoutToMasks"} for family in (*WAN, "LTX-Video", "HunyuanVideo", "CogVideoX")
}
for family in (*WAN, "LTX-Video"):
    TAKEN[family] |= {"PromptTravel", "LayoutConditioning"}
for family in ("Wan, image to video", "LTX-Video"):
    TAKEN[family] |= {"KeyframedVideo"}


def calls(nodes):
    """Every node that is to be walked -> its inputs, of what is given: model, clip, vae, latent, prompts and motion."""

    def inputs_of(node):
        sockets, wanted = sockets_of(node), node.GET_NODE_INFO_V1()["input"]["required"].keys() | {"model"}

        def inputs(given):
            linked = {
                "MODEL": given.model, "CLIP": given.clip, "VAE": given.vae, "LATENT": given.latent,
                "CONDITIONING": given.prompts, "IMAGE": torch.zeros(1, 64, 64, 3),
                "FRAMELOOM_MOTION": given.motion, "FRAMELOOM_TREE": plan(),
                "FRAMELOOM_CAMERA": move_camera(FRAMES, parse_moves("pan left")),
                "FRAMELOOM_PATH": translation(FRAMES, 1.0, 0.0), "FRAMELOOM_STORYBOARD": SCENE, "FRAMELOOM_DATASET": (),
                "SIGMAS": torch.tensor([10.0, 5.0]), "MASK": torch.zeros(FRAMES, 8, 8),
                "FRAMELOOM_SPARSE_CONTROL": SparseNetwork("rgb", SparseSize(), None),
            }  # fmt: skip
            links = {name: linked[kind] for name, kind in sockets.items() if name in wanted}
            return widget_values(node) | links | VALUES.get(node.__name__, {})

        return inputs

    return {name: inputs_of(node) for name, node in nodes.items() if WATCHED & {*sockets_of(node).values()}}


@pytest.fixture(scope="module")
def nodes(port):
    from frameloom.nodes import node_classes

    return {node.__name__: node for node in node_classes()}


@pytest.fixture(scope="module")
def parts(port, demo, motion):
    """Make what a node may be given, of a family; its prompts are the demo model's."""
    prompts, _ = port.encode_text(demo[1], "a red circle")

    def make(name):
        latent = {"samples": torch.zeros(MODELS[name][2])}
        return SimpleNamespace(
            model=build(name), clip=demo[1], vae=demo[2], latent=latent, prompts=prompts, motion=motion
        )

    return make


@pytest.mark.parametrize("family", VIDEO)
def test_every_node_refuses_a_model_of_video_by_its_name(nodes, parts, family):
    """Each says what it got, what it takes and what to do; nothing is sampled."""
    given = parts(family)
    name = family.partition(",")[0]
    for node, inputs in calls(nodes).items():
        if node == "ControlSchedule":
            continue  # it sees neither model nor latents
        if node in TAKEN.get(family, ()):
            continue
        if (
            node in ("BackgroundSmooth", "DecodeToVideo", "HoldFrames", "PIAPicture", "AnimateLCMPicture")
            and len(MODELS[family][2]) == 4
        ):
            continue  # frames, as pictures have them; they never see the model
        with pytest.raises(ValueError, match=rf"got .*{name.split()[0]}.*; expected .*; ") as refused:
            nodes[node].execute(**inputs(given))
        assert refused.type is ValueError, node


@pytest.mark.parametrize(
    ("samples", "kind", "said"),
    [
        (
            torch.zeros(1, 16, 9, 8, 8),
            None,
            r"one of a video model, \[1, 16, 9, 8, 8\], as Wan 2.1, HunyuanVideo",
        ),
        (torch.zeros(1, 128, 2, 8, 8), None, "one of a video model, .* as LTX-Video"),
        (torch.zeros(1, 64, 100), "audio", "one of sound"),
        (torch.zeros(1, 8, 16, 100), None, "one of sound"),
        (comfy.nested_tensor.NestedTensor([torch.zeros(1, 128, 2, 8, 8)]), None, "a clip and its sound"),
    ],
)
def test_latents_of_no_pictures_are_named(nodes, parts, samples, kind, said):
    given = parts("Stable Diffusion 1.x")
    given.latent = {"samples": samples, "type": kind}
    takers = {
        name: inputs
        for name, inputs in calls(nodes).items()
        if "LATENT" in {sockets_of(nodes[name]).get(each) for each in ("latent", "keyframes")}
    }
    assert takers
    for node, inputs in takers.items():
        with pytest.raises(ValueError, match=rf"(latent|keyframes): got {said}.*; expected .*; "):
            nodes[node].execute(**inputs(given))
    with pytest.raises(ValueError, match=rf"latent: got {said}.*; expected .*; use core's Random Noise"):
        FrameNoise(0).generate_noise(given.latent)


def test_latents_of_another_model_of_pictures_are_named(nodes, parts):
    given = parts("Stable Diffusion 1.x")
    given.latent = {"samples": torch.zeros(1, 16, 8, 8)}
    takers = {name: inputs for name, inputs in calls(nodes).items() if {"latent", "vae"} & {*inputs(given)}}
    for node in set(takers) - {"BackgroundSmooth", "KeyframedVideo", "TrainMotionModule"}:
        with pytest.raises(ValueError, match=r"latent: got 16 channels; expected 4, as .* has them"):
            nodes[node].execute(**takers[node](given))


def test_prompts_of_another_model_are_named(nodes, parts):
    """The demo's prompts are 64 wide."""
    given = parts("Stable Diffusion 2.x")
    takers = ["ForegroundMask", "ZeroShotSampler", "LayoutConditioning", "NuwaKeyframes", "TrainMotionModule"]
    for node in takers:
        with pytest.raises(
            ValueError, match=r"got prompts whose tokens are 64 wide; expected 1,024, as Stable Diff"
        ):
            nodes[node].execute(**calls(nodes)[node](given))


@pytest.mark.parametrize("family", ["SDXL", "Flux"])
def test_what_changes_layers_of_sd1_refuses_other_models_of_pictures(nodes, parts, family):
    given = parts(family)
    refused = [
        "ApplySparseControl", "ApplyCameraCtrl",
        *([
            "ApplyMotionModule", "FreeNoise", "CrossFrameAttnPatch", "ForegroundMask", "ZeroShotSampler",
            "LayoutConditioning", "FreeInit", "VidToMe", "FreeUPerFrame", "TrainMotionModule",
        ] if family == "Flux" else []),
    ]  # fmt: skip
    for node in refused:
        with pytest.raises(
            ValueError, match=rf"model: got {family}, which makes pictures; expected Stable Diffusion 1"
        ):
            nodes[node].execute(**calls(nodes)[node](given))


def wide(port, clip, family):
    """Prompts as a family's sampler wants them."""
    return [
        [tokens, {**more, "pooled_output": torch.zeros(1, 1280 if family == "SDXL" else 64)}]
        for tokens, more in port.encode_text(clip, "a red circle")[0]
    ]


@pytest.mark.parametrize("family", ["SDXL", "Flux"])
def test_windows_keyframes_and_travel_work_on_other_models_of_pictures(port, nodes, parts, family):
    """One picture in a window is the picture by itself, and each frame follows its own prompt."""
    given = parts(family)
    shape = (FRAMES, *MODELS[family][2][1:])
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))

    def sample(model, prompts):
        return port.sample(
            model, prompts, prompts, {"samples": torch.zeros(shape)}, noise=noise,
            sigmas=port.sigmas(model, 2, "simple"), sampler="euler", cfg=1.0,
        )["samples"]  # fmt: skip

    prompts = wide(port, given.clip, family)
    plain = sample(given.model, prompts)
    windowed = sample(port.install(given.model, Edit("windows", windows=WindowPlan(2, 1))), prompts)
    torch.testing.assert_close(windowed, plain, rtol=1e-3, atol=1e-4)
    (tokens, options), *_ = nodes["PromptTravel"].execute(**calls(nodes)["PromptTravel"](given))[0]
    moved = sample(given.model, [[tokens, {**options, "pooled_output": prompts[0][1]["pooled_output"]}]])
    torch.testing.assert_close(moved[0], plain[0], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(moved[-1], plain[-1], atol=1e-4)
    latent = nodes["SceneStart"].execute(**calls(nodes)["SceneStart"](given))[1]["samples"]
    assert latent.shape == (SCENE.scenes[0].frames, shape[1], 8, 8)


TEXTS = [
    ("text_encoders.wan", "te", "Wan, which makes video; expected the model too"),
    ("text_encoders.lt", "ltxv_te", "LTX-Video or Mochi, which makes video"),
    ("text_encoders.hunyuan_video", "hunyuan_video_clip", "HunyuanVideo, which makes video"),
    ("text_encoders.cosmos", "te", "Cosmos, which makes pictures or video; .*connect the model, which tells"),
]


@pytest.mark.parametrize(("module", "name", "said"), TEXTS)
def test_prompts_that_travel_ask_the_text_encoder_where_there_is_no_model(nodes, parts, module, name, said):
    given = parts("Wan")
    inputs = calls(nodes)["PromptTravel"](given) | {"clip": text_encoder(module, name), "model": None}
    with pytest.raises(ValueError, match=f"clip: got {said}"):
        nodes["PromptTravel"].execute(**inputs)


@pytest.mark.parametrize(
    ("module", "name"),
    [("sd1_clip", "SD1ClipModel"), ("sdxl_clip", "SDXLClipModel"), ("text_encoders.flux", "flux_clip")],
)
def test_text_encoders_of_models_of_pictures_are_known(port, module, name):
    assert port.family(text_encoder(module, name)).makes == "pictures"


def test_a_windows_wrapper_leaves_the_arguments_of_other_networks_alone(port, parts):
    """Flux's network takes arguments of its own; core hands them to every wrapper."""
    model = port.install(parts("Flux").model, Edit("windows", windows=WindowPlan(2, 1)))
    assert "frameloom" not in model.wrappers.get("diffusion_model", {})
