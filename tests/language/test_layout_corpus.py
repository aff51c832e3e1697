"""Every scene of a text or a folder of layouts, in whatever format; a wrong one is named."""

from __future__ import annotations

import pytest
from frameloom.language.formats import source
from frameloom.language.planning.layout_corpus import layout_files, read_folder, read_scenes
from frameloom.tests.support.layouts import sample


def test_a_scene_of_key_shots_has_a_frame_for_each():
    for scene in read_scenes(sample("storyboard20k.txt")):
        frames = {key.f for entity in scene.entities for key in entity.track}
        assert frames == set(range(scene.frames))


def test_storyboard20ks_lines_may_be_longer_than_one_layout(monkeypatch):
    line = max(sample("storyboard20k.txt").splitlines(), key=len)
    monkeypatch.setattr(source, "MAX_CHARACTERS", len(line) + 1)
    scenes = read_scenes("\n".join([line] * 3))
    assert len(scenes) == 3
    assert scenes[-1].entities == scenes[0].entities


def test_lines_of_several_resolutions_are_read():
    objects = "'main characters': [[]], 'objects': [[{'dog': '0 0 100 100'}]]"
    line = f"box; tell a story; two dogs; {{{objects}, 'resolution': [%d, 640]}}"
    scenes = read_scenes("\n".join([line % 360, line % 480]))
    assert len(scenes) == 2


def test_a_wrong_line_is_named_by_its_number():
    good = sample("storyboard20k.txt").strip().splitlines()[0]
    with pytest.raises(ValueError, match=r"mine\.txt, line 2 of 3: Storyboard20K lines"):
        read_scenes("\n".join([good, good[:-9], good]), "mine.txt")


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
    for number, name in enumerate(["lvd.txt", "frameloom.json"]):
        (tmp_path / f"{number}_{name}").write_text(sample(name), "utf-8")
    (tmp_path / "notes.md").write_text("nothing")
    assert [path.name for path in layout_files(tmp_path)] == ["0_lvd.txt", "1_frameloom.json"]
    wanted = [*read_scenes(sample("lvd.txt")), *read_scenes(sample("frameloom.json"))]
    assert read_folder(tmp_path) == wanted


def test_a_file_that_is_no_layout_is_named(tmp_path):
    (tmp_path / "a.json").write_text(sample("frameloom.json"), "utf-8")
    (tmp_path / "b.txt").write_text("a red circle")
    with pytest.raises(ValueError, match=r"b\.txt: text is of no format"):
        read_folder(tmp_path)
    (tmp_path / "b.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"b\.txt: got a byte at 0 that is not UTF-8"):
        read_folder(tmp_path)
