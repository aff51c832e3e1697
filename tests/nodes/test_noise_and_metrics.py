"""The noise and metrics nodes give what their models give, in the host's types; charts."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.video.noise import draw_noise
from frameloom.nodes.drawing.plot import PANEL_HEIGHT, WIDTH, Panel, draw_panels


def test_video_noise_is_a_noise_object_of_the_frames_from_its_offset_on(run):
    (noise,) = run("VideoNoise", noise_seed=7, mode="mixed", correlation=0.4, frame_offset=6)
    assert noise.seed == 7
    drawn = noise.generate_noise({"samples": torch.zeros(3, 4, 16, 16)})
    assert torch.equal(drawn, draw_noise(7, range(6, 9), (4, 16, 16), "mixed", 0.4))


def test_video_metrics_gives_a_table_and_a_picture(run):
    clip = torch.rand(5, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    table, plot = run("VideoMetrics", images=clip)
    assert "frozen" in table
    assert plot.shape == (1, 2 * PANEL_HEIGHT, WIDTH, 3)
    assert 0 <= plot.min() < 0.5 < plot.max() <= 1


@pytest.mark.parametrize("values", [[0.0], [1.0, 1.0], [0.0, 1.0, 0.5]])
def test_a_chart_draws_any_line(host, values):
    assert (draw_panels([Panel("t", {"a": values}, 0.0, 1.0)]) < 0.4).any()


def test_a_chart_follows_its_values(host):
    rising = draw_panels([Panel("t", {"a": [0.0, 1.0]}, 0.0, 1.0)])
    falling = draw_panels([Panel("t", {"a": [1.0, 0.0]}, 0.0, 1.0)])
    assert not torch.equal(rising, falling)
