"""The noise and metrics nodes give what their models give, in the host's types."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.video.noise import draw_noise
from frameloom.nodes.drawing.plot import PANEL_HEIGHT, WIDTH, Panel, draw_panels


def test_video_noise_is_a_noise_object(nodes):
    noise = nodes["VideoNoise"].execute(7, "mixed", 0.4)[0]
    assert noise.seed == 7
    latent = {"samples": torch.zeros(3, 4, 16, 16)}
    assert torch.equal(noise.generate_noise(latent), draw_noise(7, range(3), (4, 16, 16), "mixed", 0.4))


def test_frame_offset_continues_a_longer_video(nodes):
    latent = {"samples": torch.zeros(3, 4, 16, 16)}
    whole = (
        nodes["VideoNoise"]
        .execute(7, "progressive", 0.4)[0]
        .generate_noise({"samples": torch.zeros(9, 4, 16, 16)})
    )
    assert torch.equal(
        nodes["VideoNoise"].execute(7, "progressive", 0.4, 6)[0].generate_noise(latent), whole[6:]
    )


def test_video_metrics_gives_a_table_and_a_picture(nodes):
    clip = torch.rand(5, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    table, plot = nodes["VideoMetrics"].execute(clip, 8.0).result
    assert "frozen" in table
    assert plot.shape == (1, 2 * PANEL_HEIGHT, WIDTH, 3)
    assert 0 <= plot.min() < 0.5 < plot.max() <= 1


def test_video_metrics_refuses_a_still(nodes):
    with pytest.raises(ValueError, match=r"images is \(1, 32, 32, 3\); expected at least 3 frames"):
        nodes["VideoMetrics"].execute(torch.zeros(1, 32, 32, 3), 8.0)


@pytest.mark.parametrize("values", [[0.0], [1.0, 1.0], [0.0, 1.0, 0.5]])
def test_a_chart_draws_any_line(host, values):
    assert (draw_panels([Panel("t", {"a": values}, 0.0, 1.0)]) < 0.4).any()


def test_a_chart_follows_its_values(host):
    rising = draw_panels([Panel("t", {"a": [0.0, 1.0]}, 0.0, 1.0)])
    falling = draw_panels([Panel("t", {"a": [1.0, 0.0]}, 0.0, 1.0)])
    assert not torch.equal(rising, falling)
