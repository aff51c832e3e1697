"""Evidence: all of it is of the files that ship; of zero-shot video, clips are the node's own, figures as by hand."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.zero_shot.motion_path import translation
from frameloom.tools.evidence import __main__ as evidence
from frameloom.tools.evidence import summary, zero_shot
from frameloom.tools.evidence.rows import Row, judge, row
from frameloom.tools.evidence.studio import CFG, SAMPLER, SCHEDULER, Studio
from frameloom.training import shapes

PLACES = {*shapes.ROWS, *shapes.COLUMNS, *shapes.DIRECTIONS, "moving", "standing"}


def pairs(*axes):
    """One clip an axis: its way, the path's."""
    return torch.tensor(axes, dtype=torch.float64)[None, :, None]


def test_every_section_is_measured_on_the_files_that_ship_and_the_report_shows_it(tmp_path, monkeypatch):
    stored, shown = evidence.read_rows(), evidence.REPORT.read_text("utf-8")
    assert [name for name in evidence.SECTIONS if not stored["sections"].get(name)] == []
    monkeypatch.setattr(evidence, "REPORT", tmp_path / "evidence.md")
    evidence.write_report(stored)
    assert shown == evidence.REPORT.read_text("utf-8")


def test_the_summary_has_every_claim_once_in_a_page():
    """A claim whose rows are renamed is missed here, not on the page."""
    sections = evidence.read_rows()["sections"]
    table = list(summary.lines(sections))[2:]
    assert len(table) == len({claim.words for claim in summary.CLAIMS}) <= 25
    assert [claim.family for claim in summary.CLAIMS if f"| {claim.family} |" not in "\n".join(table)] == []
    first = summary.CLAIMS[0]
    row = summary.find_row(sections, first.section, first.row, first.technique)
    assert f"| {row['value']:.3f} | {row['low']:.3f} .. {row['high']:.3f} |" in table[0]
    with pytest.raises(LookupError, match="no row 'gone'"):
        summary.find_row(sections, first.section, "gone", first.technique)


def test_a_clip_is_the_zero_shot_samplers(run, monkeypatch):
    monkeypatch.setattr(zero_shot, "FRAMES", 2)
    studio, task = Studio(), zero_shot.make_tasks(1)[0]
    start = zero_shot.begin(studio, task, zero_shot.DEMO)
    clip = zero_shot.finish(studio, start, zero_shot.with_anchor(studio))
    (positive, _), (negative, _) = (studio.host.encode_text(studio.clip, text) for text in (task.prompt, ""))
    given = {"path": task.path, "seed": task.seed, "steps": zero_shot.STEPS, "cfg": CFG}
    given |= {"sampler_name": SAMPLER, "scheduler": SCHEDULER, "model": studio.model}
    given |= {"positive": positive, "negative": negative, "latent": {"samples": torch.zeros(1, 4, 16, 16)}}
    given |= dict(zip(("t1", "t0"), map(float, zero_shot.DEMO), strict=True))
    (output,) = run("ZeroShotSampler", **given)
    assert torch.equal(clip.latent, output["samples"])


@pytest.mark.parametrize("say_background", [True, False])
def test_prompts_name_no_place_and_no_direction(say_background):
    tasks = zero_shot.make_tasks(64, say_background=say_background)
    words = {word for task in tasks for word in task.prompt.split()}
    assert not words & PLACES
    assert bool(words & {*shapes.BACKGROUNDS}) == say_background


def test_paths_go_both_ways_on_both_axes_within_the_stated_strengths():
    moves = torch.stack([task.path.move[-1] for task in zero_shot.make_tasks(64)])
    longest, shortest = (-translation(zero_shot.FRAMES, s, s).move[-1, 0] for s in zero_shot.STRENGTHS[::-1])
    assert (moves.abs() <= longest + 0.01).all()
    assert (moves.abs() >= shortest - 0.01).all()
    assert (moves > 0).any(0).all()
    assert (moves < 0).any(0).all()


def test_figures_of_ways():
    half = pairs((0.1, 0.2), (-0.2, -0.4), (0.05, 0.1), (7.0, 0.0))
    assert [figure(half).item() for figure in (zero_shot.same_sign, zero_shot.slope)] == pytest.approx(
        [1, 0.5]
    )
    assert zero_shot.correlation(half).item() == pytest.approx(1), "a path of 0 is left out"
    against = pairs((0.1, -0.2), (-0.2, -0.4), (0.3, 0.1), (0.0, 0.1))
    assert zero_shot.same_sign(against).item() == 0.5
    way, path = against[0, :, 0].T
    wanted = torch.corrcoef(torch.stack([way, path]))[0, 1]
    assert zero_shot.correlation(against).item() == pytest.approx(float(wanted))


def test_an_interval_is_held_against_its_target_from_either_side():
    def met(low, high, target):
        return judge(vars(Row("claim", "arm", (low + high) / 2, low, high, 8, target)))

    assert met(0.9, 1, ">= 0.9") == "yes"
    assert met(0.8, 1.1, ">= 0.9") == "by the mean only"
    assert met(0.1, 0.3, "<= 0.2") == "by the mean only"
    assert met(-9, 0.2, "<= 0.2") == "yes"
    assert met(0.3, 0.4, "<= 0.2") == "**no**"


def test_a_row_of_any_statistic_has_it_of_all_samples_in_its_interval():
    values = torch.rand(64, 2, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    found = row("claim", "arm", values, statistic=zero_shot.slope)
    assert found.value == pytest.approx(zero_shot.slope(values[None].double()).item())
    assert found.low < found.value < found.high
    assert found.count == 64
