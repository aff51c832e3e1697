"""What every node must say of itself, and the inputs that are a contract."""

from __future__ import annotations

import inspect

# Ids, inputs and their order are kept for ever: saved workflows hold widget values by position. New ones go last.
CONTRACT = {
    "DemoModelLoader": ([], ["MODEL", "CLIP", "VAE"]),
    "MotionModuleLoader": (["file"], ["FRAMELOOM_MOTION"]),
    "MotionLoRALoader": (["motion", "file", "strength"], ["FRAMELOOM_MOTION"]),
    "ApplyMotionModule": (
        ["model", "motion", "strength", "start_percent", "end_percent", "beta_schedule"],
        ["MODEL"],
    ),
    "VideoNoise": (["noise_seed", "mode", "correlation", "frame_offset"], ["NOISE"]),
    "VideoMetrics": (["images", "fps"], ["STRING", "IMAGE"]),
    "FreeNoise": (["model", "window_length", "stride", "seed", "reshuffle", "fuse"], ["MODEL"]),
    "FreeInit": (
        [
            "model",
            "extra_iterations",
            "filter",
            "spatial_stop",
            "temporal_stop",
            "order",
            "coarse_to_fine",
        ],
        ["MODEL"],
    ),
    "MotionPath": (
        [
            "kind",
            "frames",
            "motion_field_strength_x",
            "motion_field_strength_y",
            "canvas",
            "width",
            "height",
            "move_right",
            "move_down",
            "zoom",
            "angle",
            "keyframes",
            "storyboard",
            "scene",
            "entity",
        ],
        ["FRAMELOOM_PATH", "IMAGE"],
    ),
    "NoiseWarp": (["model", "latent", "path", "sigmas", "seed", "first_frame"], ["LATENT"]),
    "CrossFrameAttnPatch": (
        ["model", "anchor", "frame", "strength", "start_percent", "end_percent", "levels", "in_controlnet"],
        ["MODEL"],
    ),
    "BackgroundSmooth": (["latent", "mask", "path", "keep"], ["LATENT"]),
    "ForegroundMask": (
        [
            "model",
            "clip",
            "prompt",
            "phrase",
            "latent",
            "method",
            "seed",
            "passes",
            "at_percent",
            "levels",
            "threshold",
            "dilation",
            "hold",
            "mask",
        ],
        ["MASK"],
    ),
    "ZeroShotSampler": (
        [
            "model",
            "positive",
            "negative",
            "latent",
            "path",
            "seed",
            "steps",
            "cfg",
            "sampler_name",
            "scheduler",
            "t0",
            "t1",
            "level_unit",
            "chunk_size",
            "mask",
            "keep",
        ],
        ["LATENT"],
    ),
    "LayoutFromLLM": (
        ["script", "planner", "frames", "fps", "width", "height", "seed", "repairs", "llm"],
        ["FRAMELOOM_STORYBOARD", "STRING"],
    ),
    "LayoutPrior": (
        [
            "file",
            "entities",
            "caption",
            "frames",
            "keyframes",
            "width",
            "height",
            "fps",
            "temperature",
            "top_k",
            "seed",
            "trained",
        ],
        ["FRAMELOOM_STORYBOARD", "STRING"],
    ),
    "TrainLayoutPrior": (
        [
            "source",
            "text",
            "name",
            "steps",
            "batch_size",
            "learning_rate",
            "keyframes",
            "width",
            "layers",
            "context",
            "seed",
        ],
        ["STRING", "STRING", "IMAGE"],
    ),
    "LocalLLM": (["model", "max_tokens", "temperature", "device"], ["FRAMELOOM_LLM"]),
    "LayoutFromText": (
        ["text", "format", "file", "frames", "fps", "width", "height", "export_as"],
        ["FRAMELOOM_STORYBOARD", "STRING"],
    ),
    "LayoutPreview": (["storyboard", "longer_side", "columns"], ["IMAGE", "IMAGE"]),
    "LayoutToMasks": (
        ["storyboard", "entity", "width", "height", "feather", "shape", "invert"],
        ["MASK"],
    ),
    "LayoutToControl": (["storyboard", "kind", "width", "height", "line_width", "seed"], ["IMAGE"]),
    "SelectScene": (["storyboard", "scene"], ["FRAMELOOM_STORYBOARD", "STRING", "STRING", "INT"]),
    "SceneList": (["storyboard", "seed"], ["FRAMELOOM_STORYBOARD", "STRING", "INT", "INT", "STRING"]),
    "JoinScenes": (["images", "cross_fade", "skip"], ["IMAGE"]),
    "SceneStart": (
        ["storyboard", "noise_seed", "mode", "entity_share", "anchor"],
        ["FRAMELOOM_STORYBOARD", "LATENT", "NOISE"],
    ),
    "ContextWindows": (
        ["model", "length", "overlap", "schedule", "stride", "weights", "frames"],
        ["MODEL", "IMAGE"],
    ),
    "LayoutConditioning": (
        [
            "model",
            "clip",
            "storyboard",
            "prompt",
            "method",
            "strength",
            "end_percent",
            "gather_percent",
            "conditioning",
            "gligen",
            "gligen_percent",
            "energy_strength",
        ],
        ["MODEL", "CONDITIONING"],
    ),
    "DecodeToVideo": (
        ["latent", "vae", "fps", "filename_prefix", "format", "crf", "frames_per_chunk"],
        ["VIDEO"],
    ),
    "PromptTravel": (
        ["clip", "text", "frames", "interpolation", "prepend", "append", "storyboard"],
        ["CONDITIONING", "STRING", "INT"],
    ),
    "NuwaPlan": (
        [
            "prompts",
            "length",
            "depth",
            "interpolation",
            "width",
            "height",
            "seconds_per_job",
            "storyboard",
            "prompt_levels",
            "prompt_seed",
            "llm",
        ],
        ["FRAMELOOM_TREE", "IMAGE", "STRING"],
    ),
    "NuwaKeyframes": (
        [
            "model",
            "clip",
            "tree",
            "negative",
            "latent",
            "seed",
            "steps",
            "cfg",
            "sampler_name",
            "scheduler",
            "shared_noise",
            "shared_attention",
            "positive",
        ],
        ["LATENT"],
    ),
    "NuwaInterpolate": (
        [
            "model",
            "clip",
            "tree",
            "negative",
            "keyframes",
            "seed",
            "steps",
            "cfg",
            "sampler_name",
            "scheduler",
            "start",
            "correlation",
            "resample_rounds",
            "resample_share",
            "denoise",
            "positive",
        ],
        ["LATENT"],
    ),
    "VideoDataset": (
        [
            "source",
            "folder",
            "frames",
            "stride",
            "width",
            "height",
            "caption_dropout",
            "missing_captions",
            "clips_per_video",
            "flip",
            "clips",
            "motion",
            "seed",
        ],
        ["FRAMELOOM_DATASET", "STRING", "IMAGE"],
    ),
    "LLMEndpoint": (["profile", "timeout", "attempts", "max_tokens", "temperature"], ["FRAMELOOM_LLM"]),
}


def test_ids_inputs_and_outputs_are_the_contract(nodes):
    for name, (inputs, outputs) in CONTRACT.items():
        schema = nodes[name].define_schema()
        assert schema.node_id == f"Frameloom_{name}"
        assert [each.id for each in schema.inputs][: len(inputs)] == inputs
        assert nodes[name].GET_NODE_INFO_V1()["output"][: len(outputs)] == outputs


def test_every_input_and_output_has_a_tooltip_and_every_node_a_description_and_aliases(nodes):
    silent = []
    for name, node in nodes.items():
        schema = node.define_schema()
        silent += [f"{name}.{each.id}" for each in (*schema.inputs, *schema.outputs) if not each.tooltip]
        if not (schema.description and schema.search_aliases and schema.category.startswith("frameloom/")):
            silent.append(name)
    assert silent == []


def test_ids_are_the_class_names_and_display_names_are_words_and_unique(nodes):
    shown = [node.define_schema().display_name for node in nodes.values()]
    assert len(set(shown)) == len(shown)
    assert all(name.replace(" ", "").isalnum() for name in shown)
    assert all(node.define_schema().node_id == f"Frameloom_{name}" for name, node in nodes.items())


def test_execute_takes_exactly_the_inputs_of_the_schema(nodes):
    for node in nodes.values():
        ids = [each.id for each in node.define_schema().inputs]
        assert list(inspect.signature(node.execute).parameters) == ids


def test_lists_of_files_are_read_anew_each_time(nodes, host):
    files = nodes["MotionModuleLoader"].define_schema().inputs[0].options
    assert "mine.safetensors" in files
    (host.models_dir / "animatediff_models" / "later.safetensors").write_bytes(b"")
    assert "later.safetensors" in nodes["MotionModuleLoader"].define_schema().inputs[0].options
