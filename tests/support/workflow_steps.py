"""Run the small workflows of ``sampling_cases`` node by node; used in both hosts, so it imports neither."""

from __future__ import annotations

import torch


def given(case):
    """The latent and the picture that a case starts from."""
    generator = torch.Generator().manual_seed(5)
    latent = {"samples": torch.randn(3, 4, 16, 16, generator=generator) * 4}
    if case.get("masked"):
        latent["noise_mask"] = torch.rand(3, 1, 40, 40, generator=generator)
    if "batch_index" in case:
        latent["batch_index"] = case["batch_index"]
    return latent, torch.rand(2, 71, 83, 3, generator=generator)


def run(case, demo, call):
    """Return the first result of node ``out`` as a tensor; ``call(class_type, inputs)`` runs one node."""
    results = {"demo": demo, "given": given(case)}

    def result(name):
        if name not in results:
            node = case["workflow"][name]
            inputs = {
                key: result(value[0])[value[1]] if isinstance(value, list) else value
                for key, value in node["inputs"].items()
            }
            results[name] = call(node["class_type"], inputs)
        return results[name]

    value = result("out")[0]
    if isinstance(value, dict):
        return value["samples"]
    return (
        torch.cat([value[0][0].flatten(), value[0][1]["pooled_output"].flatten()])
        if isinstance(value, list)
        else value
    )
