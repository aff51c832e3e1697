"""Which family a MODEL, CLIP or VAE of ComfyUI is of: the only file that knows ComfyUI's classes by their families.

Classes are looked up by name, along their bases, since each version of ComfyUI has some that others lack. What is not
in a table is called by its class's name, and what it makes is told by the axes of its latents.
"""

from __future__ import annotations

from typing import Any

from ....models.network.family import Family, Makes
from ....models.network.time_law import TimeLaw
from ....models.network.unet import SD1, SDXL
from ..seams.network import size_of
from ..seams.video_network import reads_beside

_BY_AXES: dict[int, Makes] = {1: "sound", 2: "pictures", 3: "video"}  # behind a latent's channels
_UNET, _SDXL = "Stable Diffusion", "SDXL"  # the first is 1.x or 2.x
_TABLES = {_UNET: SD1, _SDXL: SDXL}

# Classes of comfy.model_base. None: told by the latents' axes.
_MODELS: dict[str, tuple[str, Makes | None]] = {
    "SD15_instructpix2pix": (_UNET, "pictures"),
    "SD21UNCLIP": (_UNET, "pictures"),
    "BaseModel": (_UNET, "pictures"),
    "SDXLRefiner": ("SDXL's refiner", "pictures"),
    "SDXL": (_SDXL, "pictures"),
    "SVD_img2vid": ("Stable Video Diffusion", "video"),
    "StableCascade_B": ("Stable Cascade", "pictures"),
    "StableCascade_C": ("Stable Cascade", "pictures"),
    "SD3": ("Stable Diffusion 3", "pictures"),
    "Flux2": ("Flux 2", "pictures"),
    "Flux": ("Flux", "pictures"),
    "Chroma": ("Chroma", "pictures"),
    "Lumina2": ("Lumina 2 or Z-Image", "pictures"),
    "QwenImage": ("Qwen-Image", "pictures"),
    "HunyuanImage21": ("HunyuanImage 2.1", "pictures"),
    "Anima": ("Anima", "pictures"),
    "JoyImage": ("JoyImage", "pictures"),
    "Krea2": ("Krea 2", "pictures"),
    "Kandinsky5Image": ("Kandinsky 5 Image", "pictures"),
    "Kandinsky5": ("Kandinsky 5", None),
    "WAN22": ("Wan 2.2 5B", None),
    "WAN21": ("Wan", None),
    "LTXAV": ("LTX-2", "video"),
    "LTXV": ("LTX-Video", None),
    "HunyuanVideo15": ("HunyuanVideo 1.5", None),
    "HunyuanVideo": ("HunyuanVideo", None),
    "CogVideoX": ("CogVideoX", None),
    "GenmoMochi": ("Mochi", None),
    "CosmosVideo": ("Cosmos", None),
    "CosmosPredict2": ("Cosmos Predict2", None),
    "MiniMaxH3": ("MiniMax H3", "video"),
    "ACEStep": ("ACE-Step", "sound"),
    "StableAudio1": ("Stable Audio", "sound"),
    "Hunyuan3Dv2": ("Hunyuan3D 2", "shapes"),
    "Hunyuan3Dv2_1": ("Hunyuan3D 2.1", "shapes"),
}
# Configurations that share the class BaseModel, or SDXL's.
_CONFIGS = {
    "SD15": "Stable Diffusion 1.x",
    "SD20": "Stable Diffusion 2.x",
    "SD21UnclipL": "Stable Diffusion 2.1",
    "SSD1B": "SSD-1B",
    "Segmind_Vega": "Segmind-Vega",
    "KOALA_700M": "KOALA 700M",
    "KOALA_1B": "KOALA 1B",
}

_WIDTHS = ("context_dim", "text_dim", "caption_channels")  # what configurations call the width of the text
# What ComfyUI before 0.25 does not say: frames that a latent frame stands for, by formats of latents.
_STRIDES = {"Wan21": 4, "HunyuanVideo": 4, "LTXV": 8}

# Modules with classes of text encoders, and who reads them.
_TEXTS: dict[str, tuple[str, Makes]] = {
    "sd1_clip": ("Stable Diffusion 1.x", "pictures"),
    "sd2_clip": ("Stable Diffusion 2.x", "pictures"),
    "sdxl_clip": ("SDXL", "pictures"),
    "sd3_clip": ("Stable Diffusion 3", "pictures"),
    "flux": ("Flux", "pictures"),
    "lumina2": ("Lumina 2", "pictures"),
    "z_image": ("Z-Image", "pictures"),
    "qwen_image": ("Qwen-Image", "pictures"),
    "hidream": ("HiDream", "pictures"),
    "pixart_t5": ("PixArt", "pictures"),
    "aura_t5": ("AuraFlow", "pictures"),
    "hydit": ("HunyuanDiT", "pictures"),
    "omnigen2": ("OmniGen 2", "pictures"),
    "wan": ("Wan", "video"),
    "lt": ("LTX-2", "video"),
    "hunyuan_video": ("HunyuanVideo", "video"),
    "hunyuan_image": ("HunyuanImage or HunyuanVideo 1.5", "pictures or video"),
    "kandinsky5": ("Kandinsky 5", "pictures or video"),
    "cogvideo": ("CogVideoX", "video"),
    "genmo": ("LTX-Video or Mochi", "video"),
    "cosmos": ("Cosmos", "pictures or video"),
    "minimax": ("MiniMax H3", "video"),
    "ace": ("ACE-Step", "sound"),
    "ace15": ("ACE-Step", "sound"),
    "sa_t5": ("Stable Audio", "sound"),
    "sa3": ("Stable Audio", "sound"),
}
# Parts of the names of modules with classes of VAEs.
_VAES = {
    "wan": "Wan",
    "lightricks": "LTX",
    "cogvideo": "CogVideoX",
    "genmo": "Mochi",
    "cosmos": "Cosmos",
    "seedvr": "SeedVR2",
    "minimax": "MiniMax H3",
    "audio": "Stable Audio",
    "ace": "ACE-Step",
}


def family_of(part: Any) -> Family:
    """Return what ``contract.Host.family`` says."""
    for attribute, read in _READERS.items():
        if hasattr(part, attribute):
            return read(part)
    return Family(type(part).__name__, "pictures or video")


def _of_model(model: Any) -> Family:
    inner, latents = model.model, model.get_model_object("latent_format")
    config, network = inner.model_config, inner.diffusion_model
    called, makes = _name(type(inner))
    size = size_of(network) if called in _TABLES else None
    known = size is not None and size.slots.keys() == _TABLES[called].slots.keys()
    name = called
    if called in _TABLES:
        name = next(
            (_CONFIGS[kind.__name__] for kind in type(config).__mro__ if kind.__name__ in _CONFIGS), name
        )
        name += {8: " (instruct-pix2pix)", 9: " (inpainting)"}.get(network.in_channels, "")
        if not known and (called == _UNET or name.startswith(_SDXL)):
            name += " with other blocks"  # of the others, the name says so
    return Family(
        name,
        makes or _BY_AXES[latents.latent_dimensions],
        latents.latent_channels,
        next((config.unet_config[name] for name in _WIDTHS if config.unet_config.get(name)), 0),
        is_sd1=known and called == _UNET,
        is_sdxl=known and called == _SDXL,
        law=None if makes is not None or latents.latent_dimensions != 3 else _law_of(latents),
        reads_beside=reads_beside(network),
    )


def _law_of(latents: Any) -> TimeLaw | None:
    """Return the time law of a format of latents of video."""
    known = next(
        (_STRIDES[base.__name__] for base in type(latents).__mro__ if base.__name__ in _STRIDES), None
    )
    stride = getattr(latents, "temporal_downscale_ratio", known)
    return None if stride is None else TimeLaw(stride)


def _of_text_encoder(clip: Any) -> Family:
    kind = type(clip.cond_stage_model)
    modules = (base.__module__ for base in kind.__mro__)
    core = next((module for module in modules if module.startswith("comfy.")), "")
    unknown: tuple[str, Makes] = f"{kind.__name__} (a text encoder)", "pictures or video"
    return Family(*_TEXTS.get(core.rsplit(".", 1)[-1], unknown))


def _of_vae(vae: Any) -> Family:
    stems = type(vae.first_stage_model).__module__.split(".")
    name = next((_VAES[stem] for stem in stems if stem in _VAES), f"a VAE of {vae.latent_channels} channels")
    makes: Makes = "sound" if vae.latent_dim == 2 and "ace" in stems else _BY_AXES[vae.latent_dim]
    return Family(name, makes, vae.latent_channels)


def _name(kind: type) -> tuple[str, Makes | None]:
    """Return what a class of models is called. Other packs' are called by their base of core's."""
    core = [base.__name__ for base in kind.__mro__ if base.__module__ == "comfy.model_base"]
    bases = core if core[:1] == ["BaseModel"] else core[:-1]  # every model is a BaseModel
    return next((_MODELS[base] for base in bases if base in _MODELS), (kind.__name__, None))


_READERS = {"first_stage_model": _of_vae, "cond_stage_model": _of_text_encoder, "get_model_object": _of_model}
