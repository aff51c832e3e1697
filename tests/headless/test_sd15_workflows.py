"""The workflows that ask for files of the user's, run whole: with narrow files under the names that they ask for."""

from __future__ import annotations

import shutil
from dataclasses import replace

import av
import pytest
import torch
from frameloom.host.bundled import DEMO_TOKENIZER
from frameloom.host.video_file import Encoding, NewVideo
from frameloom.models.motion.image_encoder import PREFIX, ImageEncoder
from frameloom.models.motion.lora import read_motion_lora
from frameloom.models.motion.pia import PIA_KEY
from frameloom.tests.support.camera import tiny_camera
from frameloom.tests.support.gligen import write_gligen
from frameloom.tests.support.motion_ctrl import tiny_motion_ctrl
from frameloom.tests.support.random_demo import NARROW, random_motion, write_control, write_lora, write_model
from frameloom.tests.support.sparse import domain_adapter, write_sparse
from frameloom.tests.support.tensors import draw
from frameloom.tests.support.workflows import read_graph
from PIL import Image, ImageSequence
from safetensors.torch import save_file

EDITING = replace(NARROW, unet=replace(NARROW.unet, in_channels=8))
SIDE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's files: checkpoints, ControlNets, a motion module, GLIGEN's layers, CLIP's vocabulary, a video."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("checkpoints", "controlnet", "animatediff_models", "gligen", "loras"):
        (folder / "models" / name).mkdir(parents=True)
    (folder / "input").mkdir()
    shutil.copytree(DEMO_TOKENIZER, folder / "models" / "clip_tokenizer")
    write_model(folder / "models/checkpoints/v1-5-pruned-emaonly.safetensors", NARROW)
    write_model(folder / "models/checkpoints/instruct-pix2pix-00-22000.safetensors", EDITING)
    for kind in ("canny", "scribble"):
        write_control(folder / f"models/controlnet/control_v11p_sd15_{kind}_fp16.safetensors", NARROW.unet)
    motion = random_motion(NARROW.unet).state_dict()
    torch.save(motion, folder / "models/animatediff_models/v3_sd15_mm.ckpt")
    save_file(motion, folder / "models/animatediff_models/animatediff_lightning_4step_comfyui.safetensors")
    torch.manual_seed(2)
    encoder = ImageEncoder([NARROW.unet.slots[f"down_blocks.{level}.motion_modules.1"] for level in range(4)])
    encoder = {PREFIX + key: value for key, value in encoder.state_dict().items()}
    torch.save(motion | encoder, folder / "models/animatediff_models/AnimateLCM_sd15_i2v.ckpt")
    write_lora(folder / "models/loras/AnimateLCM_sd15_i2v_lora.safetensors")
    widened = {PIA_KEY: draw(NARROW.unet.model_channels, 9, 3, 3)}
    torch.save(motion | widened, folder / "models/animatediff_models/pia.ckpt")
    Image.new("RGB", (96, 64), "red").save(folder / "input" / "my_picture.png")
    camera = tiny_camera(widths=NARROW.unet.widths)
    halves = {"pose_encoder_state_dict": "encoder_", "attention_processor_state_dict": ".processor."}
    named = {
        half: {key: each for key, each in camera.items() if part in key} for half, part in halves.items()
    }
    torch.save(named, folder / "models/animatediff_models/CameraCtrl.ckpt")
    projections = {"epoch": 0, "state_dict": tiny_motion_ctrl(motion)}
    torch.save(projections, folder / "models/animatediff_models/motionctrl_animatediff_cmcm.ckpt")
    widths = [NARROW.unet.model_channels * factor for factor in (1, 2, 4)]
    write_gligen(folder / "models/gligen/gligen_sd14_textbox_pruned.safetensors", widths, text=64)
    write_sparse(folder / "models/controlnet/v3_sd15_sparsectrl_rgb.ckpt", NARROW.unet)
    torch.save(domain_adapter(), folder / "models/loras/v3_sd15_adapter.ckpt")
    Image.new("RGB", (96, 64), "navy").save(folder / "input" / "my_first_frame.png")
    clip = torch.zeros(24, 96, 128, 3)
    for frame in range(24):
        clip[frame, 24:72, 3 * frame : 3 * frame + 40] = 1
    path = folder / "input" / "my_video.mp4"
    with NewVideo(lambda *_: path, Encoding("mp4", "h264", "yuv420p", 5), 8, {}) as video:
        video.add(clip)
    for name in ("my_videos", "my_clip"):
        (folder / "input" / name).mkdir()
        shutil.copy(path, folder / "input" / name / "clip.mp4")
        (folder / "input" / name / "clip.txt").write_text("a white box that slides")
    return folder


@pytest.fixture
def run(folder, draw_workflow):
    """Run a workflow at 64 pixels, with some of its values replaced; returns the folder of what it saved."""

    def go(name, *values):
        graph = read_graph(name)
        sizes = (
            f"{number}.{side}={SIDE}"
            for number, node in graph.items()
            for side in {"width", "height"} & node["inputs"].keys()
        )
        return draw_workflow(graph, *sizes, *values, models=folder / "models", input=folder / "input")[0]

    return go


SHORT_TRAINING = ("3.frames=4", "4.steps=2", "4.checkpoint_every=2", "10.batch_size=4", "11.steps=2")


@pytest.mark.parametrize(
    ("name", "frames", "values"),
    [
        ("text2video_zero_sd15", 8, ("7.steps=10", "7.t0=701", "7.t1=801")),
        ("text2video_zero_controlnet_sd15", 8, ("BasicScheduler.steps=2",)),
        ("pix2pix_video_sd15", 8, ("BasicScheduler.steps=2",)),
        ("layout_controlnet_sd15", 16, ("KSampler.steps=2",)),
        ("layout_gligen_sd15", 16, ("KSampler.steps=2",)),
        ("few_steps_sd15", 16, ()),
        ("pia_sd15", 16, ("KSampler.steps=2",)),
        ("animatelcm_i2v_sd15", 16, ()),
        ("sparsectrl_sd15", 16, ("KSampler.steps=2",)),
        ("camera_ctrl_sd15", 16, ("KSampler.steps=2",)),
        ("motionctrl_sd15", 16, ("KSampler.steps=2",)),
        ("control_schedule_sd15", 16, ("KSampler.steps=2",)),
        ("video_to_video_sd15", 16, ("KSampler.steps=2",)),
        ("windows_controlnet_sd15", 24, ("EmptyLatentImage.batch_size=24", "KSampler.steps=1")),
    ],
)
def test_it_makes_a_clip_that_moves(run, name, frames, values):
    with Image.open(run(name, *values) / f"{name}_00001_.webp") as clip:
        assert clip.n_frames == frames
        pictures = {frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(clip)}
    assert clip.size == (SIDE, SIDE)
    assert len(pictures) > 1


@pytest.mark.parametrize(
    ("name", "saved"), [("train_motion_lora_sd15", "my_motion"), ("one_clip_sd15", "one_clip")]
)
def test_a_motion_lora_is_learned_from_a_folder_saved_for_the_loader_and_sampled(run, folder, name, saved):
    with Image.open(run(name, *SHORT_TRAINING) / f"{name}_00001_.webp") as clip:
        assert (clip.n_frames, clip.size) == (4, (SIDE, SIDE))
    kept = folder / "models" / "animatediff_motion_lora" / "frameloom" / f"{saved}_00001_.safetensors"
    lora = read_motion_lora(kept)
    assert all(up.abs().max() > 0 for _, up in lora.pairs.values())


def test_keyframes_and_what_is_between_become_a_video(run):
    """The prompts of the first three keyframes, and a tree of three levels."""
    three = "\n".join(read_graph("nuwa_sd15")["3"]["inputs"]["prompts"].splitlines()[:3])
    short = (f"3.prompts={three}", "3.length=3", "3.depth=3", "8.steps=1", "12.steps=1")
    with av.open(str(run("nuwa_sd15", *short) / "nuwa_sd15_00001_.mp4")) as video:
        pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert [picture.shape for picture in pictures] == [(SIDE, SIDE, 3)] * 9
    assert len({picture.tobytes() for picture in pictures}) > 1
