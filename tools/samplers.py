"""Compare every sampler and scheduler of the headless host with ComfyUI's, and write docs/samplers.md.

    python tools/samplers.py

Runs the cases of ``tests/support/sampler_cases.py`` in every ComfyUI that is found (see tools/host.py) and headless.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from frameloom.headless.samplers.sigmas import SCHEDULERS
from frameloom.headless.samplers.table import SAMPLERS
from frameloom.headless.v3.core_node import stored_object_info
from frameloom.tests.support import parity
from frameloom.tests.support.sampler_cases import FRAMES, SIDE, STEPS, named_cases
from frameloom.tests.support.tensors import apart
from frameloom.tools.host import find_hosts

PAGE = Path(__file__).resolve().parents[1] / "docs" / "samplers.md"
TEXT = """# Samplers and schedulers, headless

`frameloom run` takes {built} of ComfyUI's {all} samplers, and all of its schedulers. The others are refused before
anything runs, with the names that can be chosen: {missing}.

Each was run in ComfyUI and headless on the demo model with its motion module: {frames} frames of {side} x {side}
pixels, {steps} steps, cfg 4, seed 3, on a CPU. The figure is the length of the difference of the latents by the length
of ComfyUI's latents. Both compute in float32 and add up in other orders, so 1e-6 is as close as two programs come; the
tests ask for at most 1e-4 of each. They also compare runs under masks, in context windows that move, of a part of the
steps, of few steps and of large seeds. `tools/samplers.py` wrote this page.

## Samplers, with `normal`

{samplers}

- Those that draw noise on the way draw ComfyUI's: ancestral ones, `ddpm` and `lcm` from the seed and one more, `sde`
  ones from ComfyUI's Brownian path (torchsde), which the CPU draws. A name with `_gpu` draws its path on the device of
  the model: on a CPU that is the same path, on a GPU another one than on the CPU, as in ComfyUI.
- `uni_pc`, `uni_pc_bh2`, `dpm_fast` and `dpm_adaptive` need two steps or more. With one step ComfyUI returns their
  noise; headless they are refused.
- `dpm_adaptive` takes as many steps as it wants; `dpm_fast` and `dpm_adaptive` stop at the lowest level above 0.
- `deis` and `uni_pc` differ by more than the others because ComfyUI adds up `deis`' integrals from 10,000 points and
  takes `uni_pc`'s last level through the logarithm of a float32 number next to 1.

## Schedulers, with `euler`

The noise levels themselves are the same numbers, to the last bit.

{schedulers}

- `kl_optimal` needs two steps or more: of one, ComfyUI makes NaN. Headless it is refused.
"""


def table(
    title: str, names: Iterable[str], figures: Sequence[tuple[str, dict[str, float]]], prefix: str
) -> str:
    """Return a table of figures, a row a name, a column a version."""
    rows = [
        [title, *(version for version, _ in figures)],
        ["---", *("---:" for _ in figures)],
        *([f"`{name}`", *(f"{errors[prefix + name]:.1e}" for _, errors in figures)] for name in names),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Write the page."""
    cases = named_cases(SAMPLERS, SCHEDULERS)
    known = stored_object_info()["KSampler"]["input"]["required"]["sampler_name"][0]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parity.write_models(folder)
        theirs = [(host.version, parity.comfyuis(host, folder, cases)) for host in find_hosts()]
        parity.select_headless(folder)
        sockets = parity.load_sockets(folder)
        ours = {name: parity.ours(sockets, case) for name, case in cases.items()}
    figures = [
        (
            f"ComfyUI {version}",
            {name: apart(ours[name], wanted) for name, wanted in results.items()},
        )
        for version, results in theirs
    ]
    PAGE.write_text(
        TEXT.format(
            built=len(SAMPLERS),
            all=len(known),
            missing=", ".join(f"`{name}`" for name in known if name not in SAMPLERS),
            frames=FRAMES,
            side=SIDE,
            steps=STEPS,
            samplers=table("sampler", SAMPLERS, figures, "sampler-"),
            schedulers=table("scheduler", SCHEDULERS, figures, "scheduler-"),
        ),
        "utf-8",
    )


if __name__ == "__main__":
    main()
