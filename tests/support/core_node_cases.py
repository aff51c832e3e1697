"""Calls of core nodes, for comparing ComfyUI's with ours. ``@name`` stands for a tensor."""

from __future__ import annotations

from typing import Any

import torch

PROMPT = {"1": {"class_type": "SaveImage", "inputs": {"text": 'a "red" circle, blåbær'}}}
SIZES = {
    "up": (96, 80),
    "down": (20, 33),
    "wide": (64, 16),
    "tall": (16, 64),
    "by_width": (48, 0),
    "by_height": (0, 30),
}


def tensors() -> dict[str, torch.Tensor]:
    """Pictures and latents with values beyond 0..1 too."""
    generator = torch.Generator().manual_seed(0)
    return {
        "images": torch.rand(3, 34, 50, 3, generator=generator),
        "wild": torch.randn(2, 32, 48, 3, generator=generator),
        "latents": torch.randn(5, 4, 6, 7, generator=generator),
        "large": torch.randn(2, 4, 9, 8, generator=generator),
        "mask": torch.rand(1, 48, 56, generator=generator),
        "masks": torch.rand(3, 48, 56, generator=generator),
        "noise_mask": torch.rand(2, 1, 6, 7, generator=generator),
        "one_mask": torch.rand(1, 1, 6, 7, generator=generator),
    }


def cases() -> dict[str, dict[str, Any]]:
    """Return name -> node, inputs."""
    named: dict[str, dict[str, Any]] = {}

    def add(name: str, node: str, saves: bool = False, **inputs: Any) -> None:
        named[name] = {"node": node, "inputs": inputs, "prompt": PROMPT, "saves": saves}

    for method in ("nearest-exact", "bilinear", "area", "bicubic", "lanczos"):
        for crop in ("disabled", "center"):
            for size, (width, height) in SIZES.items():
                scale = {"upscale_method": method, "width": width, "height": height, "crop": crop}
                add(f"scale_{method}_{crop}_{size}", "ImageScale", image="@images", **scale)
    same = {"upscale_method": "area", "width": 0, "height": 0, "crop": "center"}
    add("scale_none", "ImageScale", image="@wild", **same)
    for index, length in ((0, 1), (1, 5), (-1, 1), (-9, 2), (9, 3)):
        add(f"image_{index}_{length}", "ImageFromBatch", image="@images", batch_index=index, length=length)
        for extra in (
            {},
            {"noise_mask": "@noise_mask"},
            {"noise_mask": "@one_mask"},
            {"batch_index": [4, 5, 7, 8, 9]},
        ):
            latent = {"samples": "@latents", **extra}
            name = f"latent_{index}_{length}_{'_'.join([*extra, *map(str, extra.values())]).replace('@', '')}"
            add(name, "LatentFromBatch", samples=latent, batch_index=index, length=length)
    for extra in (
        {},
        {"noise_mask": "@noise_mask"},
        {"noise_mask": "@one_mask"},
        {"batch_index": [0, 1, 2, 5, 6]},
    ):
        name = f"repeat_{'_'.join([*extra, *map(str, extra.values())]).replace('@', '')}"
        add(name, "RepeatLatentBatch", samples={"samples": "@latents", **extra}, amount=3)
    add("empty", "EmptyLatentImage", width=136, height=64, batch_size=2)
    under = {"samples": "@latents", "noise_mask": "@noise_mask"}
    for source in ("latents", "large"):
        for name, mask in {"all": {}, "one": {"mask": "@mask"}, "frames": {"mask": "@masks"}}.items():
            for x, y, resize_source in ((0, 0, False), (16, 8, False), (8, 0, True), (400, 400, False)):
                over = {"source": {"samples": f"@{source}"}, "x": x, "y": y, "resize_source": resize_source}
                case = f"composite_{source}_{name}_{x}_{y}"
                add(case, "LatentCompositeMasked", destination=under, **over, **mask)
    add("mask", "SetLatentNoiseMask", samples={"samples": "@latents"}, mask="@mask")
    for file in FILES:
        add(f"load_{file.replace('.', '_')}", "LoadImage", image=file)
    add("load_latent", "LoadLatent", latent="new.latent")
    add("load_old_latent", "LoadLatent", latent="old.latent")
    add("save_png", "SaveImage", saves=True, images="@wild", filename_prefix="a/%width%x%height%_")
    webp = {"fps": 12.0, "lossless": True, "quality": 80, "method": "fastest"}
    add("save_webp", "SaveAnimatedWEBP", images="@images", filename_prefix="moving", **webp)
    add("save_latent", "SaveLatent", saves=True, samples={"samples": "@latents"}, filename_prefix="latents/x")
    for name, (format, codec) in VIDEOS.items():
        video = {"video": {"images": "@images", "fps": 12.5}}
        choice = {"format": format, "codec": {"codec": codec}}
        add(f"save_{name}", "SaveVideo", video=video, filename_prefix=f"video/{name}", format=choice)
    for low, high in ((0.4, 0.8), (0.05, 0.1), (0.3, 0.3)):
        thresholds = {"low_threshold": low, "high_threshold": high}
        add(f"canny_{low:.0%}_{high:.0%}", "Canny", image="@images", **thresholds)
    for file in CLIPS:
        add(f"components_{file.replace('.', '_')}", "GetVideoComponents", video={"video": {"file": file}})
    made = {"video": {"images": "@images", "fps": 12.5, "bit_depth": 10}}
    add("components_made", "GetVideoComponents", video=made)
    return named


CLIPS = ("even.mp4", "odd.mkv", "deep.mp4", "hdr.mp4", "old.avi", "moving.gif", "alpha.mov")
"""Videos to take apart, see ``tests/host/test_core_nodes.py``."""
FILES = (
    "rgb.png",
    "rgba.png",
    "grey.png",
    "palette.png",
    "deep.png",
    "photo.jpg",
    "turned.jpg",
    "lossy.webp",
    "moving.webp",
    "moving.gif",
)
VIDEOS = {"mp4": ("mp4", "h264"), "auto": ("auto", "auto"), "mkv": ("mkv", "h264")}
