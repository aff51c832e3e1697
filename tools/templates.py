"""What ComfyUI's template browser and editor say of our workflows: names in order, what to change first, groups.

The browser shows a file's name and sorts by it, so an editor's file is named by its chapter, its place in it, and what
it makes. A workflow that is not listed here keeps its own name and stands behind the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Template:
    """One workflow as the editor shows it.

    Attributes:
        name: workflow's name in ``workflows/api``.
        title: few words that say what it makes, as part of a file's name.
        first: sentence in Markdown, behind "Change first:".
        groups: titles of groups, each with the ids of its nodes, where the rule of ``tools/workflow.py`` does not do.
        folded: ids of nodes that show their title alone, where the graph would not fit: of those that have nothing to
            set, or show what an editor beside them shows, first.
    """

    name: str
    title: str
    first: str
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    folded: tuple[int, ...] = ()


PROMPT = "the words in **Prompt**"
VIDEO = "the file in **Load Video**, then the words in **Prompt**"
TRAINED = "press Run once as it is; then **source** in **Clips To Train On**"

CHAPTERS = (
    (  # first clips
        Template("few_steps_demo", "First clip, no downloads", f"{PROMPT}."),
        Template("animatediff_demo", "Text to video", f"{PROMPT}, then **batch_size** in **16 Frames**."),
        Template("animatediff_sd15", "Text to video, SD 1.5", f"{PROMPT}, then **seed** in **Sample**."),
        Template(
            "few_steps_sd15",
            "Text to video in 4 steps, SD 1.5",
            f"{PROMPT}, then **noise_seed** in **Noise**.",
        ),
        Template("text2image_demo", "One picture, to try prompts", f"{PROMPT}."),
        Template(
            "prompt_travel_demo",
            "A prompt that changes over time",
            "the lines in **Prompt Travel**: each begins with the number of its frame.",
        ),
        Template("animatediff_sdxl", "Text to video, SDXL", f"{PROMPT}, then **seed** in **Sample**."),
        Template(
            "hotshotxl_sdxl", "Text to video by HotshotXL, SDXL", f"{PROMPT}, then **seed** in **Sample**."
        ),
    ),
    (  # a picture moves
        Template("animate_image_demo", "Animate a picture", "the words in **Prompt of the First Frame**."),
        Template(
            "animate_image_adapter_demo",
            "Animate a picture with a mask adapter",
            "the words in **Prompt of the First Frame**.",
        ),
        Template(
            "pia_sd15", "Animate your picture, SD 1.5", "the file in **Load Image**, then **affinity**."
        ),
        Template(
            "animatelcm_i2v_sd15",
            "Animate your picture in 4 steps, SD 1.5",
            "the file in **Load Image**, then the words in **Prompt**.",
        ),
        Template(
            "sparsectrl_sd15",
            "Your picture as the first frame, SD 1.5",
            "the file in **First Frame**, then the words in **Prompt**.",
        ),
        Template(
            "pia_demo",
            "Animate a picture with PIA",
            "the words in **Prompt of the Picture**, then **Prompt**.",
        ),
        Template(
            "wan_tracks",
            "Your picture along boxes, Wan",
            "the file in **Load Image**, then the boxes in **Boxes**.",
            {
                "Models": (1, 2, 3, 4),
                "Picture and boxes": (5, 6, 7),
                "What to draw": (8, 9, 10, 11),
                "Sample": (12,),
                "Result": (13, 14),
            },
            folded=(7,),
        ),
    ),
    (  # camera and paths
        Template("motion_lora_demo", "Camera pan by a motion LoRA", "**strength** in **Load Motion LoRA**."),
        Template(
            "motion_lora_sd15",
            "Camera zoom by a motion LoRA, SD 1.5",
            f"{PROMPT}, then **strength** in **Load Motion LoRA**.",
        ),
        Template("camera_ctrl_sd15", "Camera moves by name, SD 1.5", "the lines in **Camera Presets**."),
        Template(
            "zero_shot_demo",
            "Video without a motion module",
            f"{PROMPT}, then the numbers of **Motion Path**.",
        ),
        Template(
            "text2video_zero_sd15",
            "Video without a motion module, SD 1.5",
            f"{PROMPT}, then the numbers of **Motion Path**.",
        ),
        Template(
            "camera_path_demo",
            "One path as motion and as camera",
            "the keyframes of **Motion Path**.",
            {
                "Models": (1,),
                "What to draw": (2, 3, 4),
                "Path": (5, 6),
                "Sample": (7,),
                "Result": (8, 9),
                "Cameras": (10, 11, 12, 13, 14, 15),
            },
            folded=(6, 8),
        ),
        Template(
            "motion_lora_schedule_demo",
            "A camera that comes to rest",
            "**strength** in **Motion LoRA Schedule**.",
        ),
        Template("motionctrl_sd15", "Camera moves by MotionCtrl, SD 1.5", "the lines in **Camera Presets**."),
        Template(
            "text2video_zero_sdxl",
            "Video without a motion module, SDXL",
            f"{PROMPT}, then the numbers of **Motion Path**.",
        ),
    ),
    (  # long video
        Template(
            "long_windows_demo",
            "Long video in context windows",
            f"{PROMPT}, then **batch_size** in **48 Frames**.",
        ),
        Template(
            "freenoise_demo", "Long video in one piece", f"{PROMPT}, then **batch_size** in **64 Frames**."
        ),
        Template(
            "stretch_positions_demo",
            "Long video by stretched positions",
            f"{PROMPT}, then **batch_size** in **48 Frames**.",
        ),
        Template("nuwa_demo", "Very long video from keyframes", "the prompts in **Nuwa Plan**, one a line."),
        Template(
            "nuwa_sd15",
            "Very long video from keyframes, SD 1.5",
            "the prompts in **Nuwa Plan**, one a line.",
        ),
        Template(
            "wan_prompt_travel",
            "A prompt that changes over time, Wan",
            "the lines in **Prompt Travel**: each begins with the number of its frame.",
        ),
        Template(
            "wan_keyframes",
            "Long video between your pictures, Wan",
            "the pictures in **First Keyframe**, **Second Keyframe** and **Third Keyframe**.",
        ),
    ),
    (  # a script
        Template("script_to_layout", "Script to boxes, no model", "the lines in **Script**, one a scene."),
        Template("layout_video_demo", "Script to video", "the sentence in **Script**."),
        Template("layout_motion_demo", "Script to video with a motion module", "the sentence in **Script**."),
        Template(
            "layout_masks_demo",
            "Move a thing through a picture",
            "the boxes in **Storyboard as Text**, then the words in **Picture**.",
            {
                "Models": (1,),
                "What to draw": (4, 5, 6),
                "Boxes": (2, 3, 9, 11),
                "Sample": (7, 8, 10, 12),
                "Result": (13, 14),
            },
            folded=(3,),
        ),
        Template(
            "storyboard_demo",
            "Three scenes with one look",
            "the lines in **Script**, one a scene.",
            {
                "Models": (1, 2),
                "Script": (3, 5, 4),
                "First picture": (6, 7, 8, 9),
                "Each scene": (10, 11, 12, 13, 14, 15, 16),
                "Result": (17, 18, 19),
            },
            folded=(7, 13, 14, 15, 16, 17),
        ),
        Template(
            "layout_controlnet_sd15", "Script to video by ControlNet, SD 1.5", "the sentence in **Script**."
        ),
        Template("layout_gligen_sd15", "Script to video by GLIGEN, SD 1.5", "the sentence in **Script**."),
        Template("wan_boxes", "Script to video, Wan", "the sentence in **Script**."),
        Template("layout_sdxl", "Script to video, SDXL", "the sentence in **Script**."),
    ),
    (  # a language model
        Template(
            "layout_llm",
            "Script to boxes by a language model server",
            "**profile** in **Language Model**, then the lines in **Script**.",
        ),
        Template(
            "layout_local_llm",
            "Script to boxes by a language model here",
            "**model** in **Language Model**, then the lines in **Script**.",
        ),
        Template(
            "nuwa_llm",
            "Prompts of a long video by a language model",
            "**profile** in **Language Model**, then the prompts in **Nuwa Plan**.",
        ),
        Template("layout_prior", "Boxes from a trained prior", "**seed**: each gives other boxes."),
    ),
    (  # a video of yours
        Template("control_schedule_sd15", "Follow your video, then let go, SD 1.5", f"{VIDEO}."),
        Template("windows_controlnet_sd15", "Follow your video for 48 frames, SD 1.5", f"{VIDEO}."),
        Template(
            "text2video_zero_controlnet_sd15",
            "Follow your video without a motion module, SD 1.5",
            f"{VIDEO}.",
        ),
        Template(
            "pix2pix_video_sd15",
            "Edit your video by an instruction, SD 1.5",
            "the file in **Load Video**, then the words in **Instruction**.",
        ),
        Template("rave_demo", "Edit a video by RAVE", "the words in **What It Is to Show**."),
        Template("vidtome_demo", "Edit a video by VidToMe", "the words in **What It Is to Show**."),
        Template(
            "video_to_video_sd15",
            "Your video in another look, SD 1.5",
            f"{VIDEO}, then **denoise** in **Sample**.",
        ),
    ),
    (  # fine control
        Template(
            "freeu_demo", "FreeU that rises over the frames", "**first** and **last** in **FreeU Per Frame**."
        ),
        Template("cfg_schedule_demo", "Guidance that changes over time", "the lines in **CFG Schedule**."),
        Template(
            "motion_strength_demo", "Motion that lets go over time", "the lines in **Motion Strength**."
        ),
        Template(
            "freeinit_demo", "Frames that agree with each other", "**extra_iterations** in **Free Init**."
        ),
        Template("blend_noise_demo", "A variation of a clip", "**weight** in **Blend Noise**."),
        Template("video_noise_demo", "Noise that frames share, and a chart", "**mode** in **Video Noise**."),
        Template(
            "text2video_zero_demo",
            "Text2Video-Zero step by step",
            f"{PROMPT}.",
            {
                "Models": (1, 2),
                "What to draw": (3, 4, 10),
                "Path": (15, 16),
                "First frame": (5, 6, 7, 8, 9, 11, 12, 13, 14),
                "All frames": (17, 18),
                "Result": (19, 20),
            },
            folded=(1, 12, 13, 14, 18, 19),
        ),
        Template(
            "text2video_zero_motion_demo",
            "Text2Video-Zero with a motion module",
            f"{PROMPT}.",
            {
                "Models": (1, 2, 3, 4),
                "What to draw": (5, 6, 12),
                "Path": (17, 18),
                "First frame": (7, 8, 9, 10, 11, 13, 14, 15, 16),
                "All frames": (19, 20),
                "Result": (21, 22),
            },
            folded=(14, 15, 16, 18, 20, 21),
        ),
        Template(
            "text2video_zero_smooth_demo",
            "Text2Video-Zero with a steady background",
            f"{PROMPT}, then **phrase** in **Foreground Mask**.",
            {
                "Models": (1, 2),
                "What to draw": (3, 4, 10),
                "Path": (15, 16),
                "First frame": (5, 6, 7, 8, 9, 11, 12, 13, 14),
                "All frames": (17, 18, 19, 20, 21),
                "Result": (22, 23),
            },
            folded=(1, 12, 13, 14, 16, 17, 18, 21, 22),
        ),
    ),
    (  # training
        Template("video_dataset_demo", "Look at clips to train on", "**source** in **Clips To Train On**."),
        Template(
            "train_motion_demo",
            "Train a motion module",
            f"nothing; {TRAINED}.",
            {
                "Models": (1, 2),
                "Train": (3, 4, 5, 6),
                "What to draw": (8, 9, 10),
                "Sample": (7, 11),
                "Result": (12, 13),
            },
        ),
        Template(
            "train_few_steps_demo",
            "Train a module for few steps",
            f"nothing; {TRAINED}.",
            {
                "Models": (1, 2),
                "Train": (3, 4, 5, 6),
                "What to draw": (8, 9, 10),
                "Sample": (7, 11, 12, 13, 14),
                "Result": (15, 16),
            },
            folded=(13, 14),
        ),
        Template(
            "train_motion_lora_sd15",
            "Train a motion LoRA, SD 1.5",
            "**folder** in **Clips To Learn From**, then the words in **Prompt**.",
            {
                "Models": (1, 2),
                "Train": (3, 4, 5, 6),
                "What to draw": (8, 9, 10),
                "Sample": (7, 11),
                "Result": (12, 13),
            },
        ),
        Template(
            "one_clip_sd15",
            "Train on one clip, SD 1.5",
            "**folder** in **One Clip, Or A Few**, then the words in **Prompt**.",
            {
                "Models": (1, 2, 5),
                "Train": (3, 4, 6),
                "What to draw": (8, 9, 10),
                "Sample": (7, 11),
                "Result": (12, 13),
            },
        ),
        Template(
            "train_layout_prior", "Train a layout prior", "nothing; press Run once as it is, then **steps**."
        ),
        Template(
            "train_layout_model",
            "Train a language model on layouts",
            "**model** in **Train Layout Model** and **The Tuned Model**, then the lines in **Script**.",
        ),
    ),
)

# Smallest width and height, title included, of nodes whose widgets are drawn by the pack's own code in the browser.
EDITOR, PLAN = (420, 560), 160
EDITORS = {
    "Frameloom_LayoutFromText": (420, 780),
    "Frameloom_LayoutPreview": EDITOR,
    "Frameloom_MotionPath": (420, 930),
    "Frameloom_VideoMetrics": (400, 420),
}
# Nodes that show a picture or a video once it is made: width, and height on top of what their widgets need.
SHOWS = {
    "SaveAnimatedWEBP": (320, 280),
    "Frameloom_DecodeToVideo": (320, 440),
    "SaveImage": (300, 240),
    "LoadImage": (280, 260),
    "LoadVideo": (280, 260),
    "PreviewImage": (260, 180),
    "PreviewAny": (260, 140),
    "SaveVideo": (300, 120),
    "Frameloom_ForegroundMask": (0, 160),
    "Frameloom_JoinScenes": (0, 200),
    "Frameloom_LayoutToControl": (0, 160),
    "Frameloom_LayoutToMasks": (0, 160),
}
# Nodes that draw a plan below their widgets: height on top of what these need.
PLANS = {
    "Frameloom_ContextWindows",
    "Frameloom_FreeNoise",
    "Frameloom_NuwaPlan",
    "Frameloom_PromptTravel",
    "Frameloom_ControlSchedule",
    "Frameloom_CFGSchedule",
    "Frameloom_MotionStrength",
    "Frameloom_MotionLoRASchedule",
    "Frameloom_FewStepSettings",
}


def template_of(name: str) -> Template:
    """Return what is said of a workflow; of one that is not listed, its name alone."""
    listed = (template for chapter in CHAPTERS for template in chapter if template.name == name)
    return next(listed, Template(name, name, ""))


def file_name(name: str) -> str:
    """Return the name of a workflow's file for the editor, without its ending."""
    for chapter, templates in enumerate(CHAPTERS, 1):
        for place, template in enumerate(templates, 1):
            if template.name == name:
                return f"{chapter}.{place} {template.title}"
    return name
