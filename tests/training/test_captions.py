"""Captions beside videos and in tables, in all the ways people write them; and files that are neither."""

import json
import random
import re
from unicodedata import normalize

import pytest
from frameloom.training.video.captions import MAX_CAPTION, is_caption, read_captions

VIDEOS = ["1066.mp4", "7.webm", "deep/2000.mp4"]


def captions_of(folder, files, videos=VIDEOS):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_captions(folder, filter(is_caption, files), videos)


def test_a_text_file_is_the_caption_of_the_video_beside_it(tmp_path):
    texts = {
        "1066.txt": "a red\n  circle ",
        "deep/2000.TXT": "moves",
        "2000.txt": "of no video",
        "7.md": "no",
    }
    found, skipped = captions_of(tmp_path, texts)
    assert found == {"1066.mp4": "a red circle", "deep/2000.mp4": "moves"}
    assert skipped == []


@pytest.mark.parametrize(
    "table",
    [
        "videoid,name,page_dir\n1066,a cat,x\n7,a dog,y\n2000,a cow,deep\n",
        "\ufeffvideoid,name,page_dir\r\n1066,a cat,x\r\n7,a dog,y\r\n2000,a cow,deep\r\n",
        "contentUrl,duration,page_dir,videoid,name\nu,PT1S,x,1066,a cat\nu,,y,7,a dog\nu,,deep,2000,a cow\n",
        "file_name,text\n1066.mp4,a cat\n./7.webm,a dog\ndeep/2000.mp4,a cow\n",
        "caption;file\na cat;1066\na dog;7.webm\na cow;deep\\2000.mp4\n",
        "Path\tPrompt\n1066\ta cat\n7\ta dog\n2000\ta cow\n",
        "name,caption\n1066.mp4,a cat\n7,a dog\n2000.mp4,a cow\n",
        'videoid,name,page_dir\n1066,"a\ncat",x\n7,a dog,y,too,many\n,,\nshort\n\n2000,a cow,deep',
    ],
    ids=["webvid", "mark", "webvid-10m", "file_name", "semicolons", "tabs", "name-caption", "rows"],
)
def test_tables(tmp_path, table):
    found, skipped = captions_of(tmp_path, {"results.csv": table})
    assert found == {"1066.mp4": "a cat", "7.webm": "a dog", "deep/2000.mp4": "a cow"}
    assert skipped == []


def test_a_text_file_goes_before_tables_and_of_tables_the_first_by_name(tmp_path):
    files = {
        "b.csv": "videoid,name\n7,late\n1066,late\n",
        "a.csv": "videoid,name\n7,one\n7,two\n1066,three\n",
    }
    found, _ = captions_of(tmp_path, {**files, "1066.txt": "beside"})
    assert found == {"7.webm": "one", "1066.mp4": "beside"}


def test_an_id_that_several_videos_have_needs_their_folder(tmp_path):
    videos = ["x/1.mp4", "y/1.mp4"]
    found, _ = captions_of(tmp_path, {"a.csv": "videoid,name,page_dir\n1,left,x\n1,nobody,z\n"}, videos)
    assert found == {"x/1.mp4": "left"}


def test_a_whole_name_is_one_videos_whatever_else_ends_so(tmp_path):
    videos = ["1.mp4", "x/1.mp4"]
    found, _ = captions_of(tmp_path, {"a.csv": "file,caption\n1.mp4,above\nx/1.mp4,below\n"}, videos)
    assert found == {"1.mp4": "above", "x/1.mp4": "below"}


def test_empty_captions_are_none(tmp_path):
    table = "videoid,name\n7,  \n2000,\n2000,after\n"
    found, skipped = captions_of(tmp_path, {"a.csv": table, "1066.txt": " \n", "deep/2000.txt": ""})
    assert (found, skipped) == ({"deep/2000.mp4": "after"}, [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"videoid,name\n7,\xff\xfe\n", r"is not UTF-8 (byte 15); save it as UTF-8"),
        (b"", "has the columns (none); expected videoid and name, as WebVid has, or file and caption;"),
        (
            b"a,b\n1,2\n",
            "has the columns a, b; expected videoid and name, as WebVid has, or file and caption;",
        ),
        (b'videoid,name\n7,"' + b"x" * 200_000 + b'"\n', "field larger than field limit (131072)"),
    ],
    ids=["latin", "empty", "columns", "field"],
)
def test_a_table_that_is_none_is_named_with_its_fault(tmp_path, content, reason):
    found, [skipped] = captions_of(tmp_path, {"bad.csv": content, "7.txt": "stays"})
    assert found == {"7.webm": "stays"}
    assert skipped.name == "bad.csv"
    assert skipped.reason.startswith(reason)


def test_a_long_text_file_is_not_read_to_its_end(tmp_path):
    found, _ = captions_of(tmp_path, {"7.txt": "word " * 1_000_000})
    assert MAX_CAPTION < len(found["7.webm"]) <= 2 * MAX_CAPTION


def test_names_in_tables_open_nothing(tmp_path):
    (tmp_path / "secret.mp4").write_bytes(b"")
    folder = tmp_path / "folder"
    rows = "videoid,name,page_dir\n../secret,a,x\n../secret.mp4,b,\n/etc/passwd,c,\nsecret,d,..\n"
    skipped = [("a.csv", "names no video that is here; its first is '../secret'")]
    assert captions_of(folder, {"a.csv": rows}) == ({}, skipped)


def test_no_table_whatever_is_in_it_ends_a_run(tmp_path):
    """Tables with bytes changed, cut, doubled, or of noise: captions are of our videos, or a reason is given."""
    draw = random.Random(4)
    table = b'videoid,name,page_dir\r\n1066,"a ""big"" cat",x\r\n7,a dog,y\r\n2000,\xc3\xa4 cow,deep\r\n'
    outcomes = set()
    for _ in range(400):
        data = bytearray(
            draw.randbytes(draw.randrange(300)) if draw.random() < 0.2 else table * draw.randrange(1, 3)
        )
        for _ in range(draw.randrange(6)):
            at = draw.randrange(len(data) + 1)
            data[at : at + draw.randrange(8)] = draw.choice(
                [b"", b'"', b"\x00", b"\r", b"\xef\xbb\xbf", b",", b"\xff"]
            )
        found, skipped = captions_of(tmp_path, {"a.csv": bytes(data)})
        assert set(found) <= set(VIDEOS)
        assert all(found.values())
        assert [each.name for each in skipped] in ([], ["a.csv"])
        outcomes.add((bool(found), bool(skipped)))
    assert outcomes == {(True, False), (False, True), (False, False)}


def test_json_lines_are_tables_as_hugging_face_has_them(tmp_path):
    lines = [
        {"file_name": "1066.mp4", "text": "a cat", "fps": 8},
        {"file_name": "2000.mp4", "text": "of the folder above, where none is"},
        {"file_name": "7.webm", "text": None},
        {"file_name": 7, "text": "a dog"},
    ]
    inner = [{"file_name": "2000.mp4", "text": "a cow"}]
    found, skipped = captions_of(
        tmp_path,
        {
            "metadata.jsonl": "\n".join(map(json.dumps, lines)) + "\n\n",
            "deep/metadata.jsonl": json.dumps(inner[0]),
        },
    )
    assert found["1066.mp4"] == "a cat"
    assert found["7.webm"] == "a dog"
    assert found["deep/2000.mp4"] == "a cow"
    assert skipped == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            '{"file_name": "7", "text": "a"}\nno',
            r"^has text that is not JSON \(Expecting value.*\) in line 2;",
        ),
        ("[" * 100_000, "^has JSON with thousands of lists or objects within each other in line 1;"),
        ('["7", "a"]', r"^has no object in line 1; expected file_name and text in each$"),
        ('{"a": 1}', r"^has the columns a; expected videoid and name"),
        ('{"file_name": "gone.mp4", "text": "a"}', r"^names no video that is here; its first is 'gone.mp4'$"),
        ("", r"^has the columns \(none\); expected"),
    ],
)
def test_bad_json_lines_are_named_with_their_line(tmp_path, content, reason):
    found, skipped = captions_of(tmp_path, {"metadata.jsonl": content})
    assert found == {}
    assert [name for name, _ in skipped] == ["metadata.jsonl"]
    assert re.search(reason, skipped[0].reason)


def test_of_several_captions_the_first_of_a_stated_order_counts(tmp_path):
    files = {
        "7.webm.txt": "whole name, txt",
        "7.webm.caption": "whole name, caption",
        "7.txt": "txt",
        "7.caption": "caption",
        "a.csv": "file,caption\n7,csv\n",
        "b.jsonl": '{"file_name": "7", "text": "jsonl"}',
    }
    expected = dict(files) | {"a.csv": "csv", "b.jsonl": "jsonl"}
    while files:
        first = next(iter(files))
        found, _ = captions_of(tmp_path, files)
        assert found["7.webm"] == expected[first]
        (tmp_path / first).unlink()
        del files[first]


def test_an_empty_caption_leaves_the_word_to_the_next(tmp_path):
    found, _ = captions_of(tmp_path, {"7.webm.txt": " ", "7.caption": "a dog"})
    assert found == {"7.webm": "a dog"}


@pytest.mark.parametrize("of_video", ["NFC", "NFD"])
@pytest.mark.parametrize("of_caption", ["NFC", "NFD"])
@pytest.mark.parametrize("form", ["{}.txt", "{}.mp4.txt", "{}.caption", "a.jsonl", "a.csv"])
def test_a_letter_with_an_accent_may_be_written_as_one_or_two(tmp_path, of_video, of_caption, form):
    """macOS writes two into names of files, most other programs one."""
    video, name = normalize(of_video, "café.mp4"), normalize(of_caption, "café")
    texts = {
        "a.jsonl": json.dumps({"file_name": f"{name}.mp4", "text": "a cup"}),
        "a.csv": f"file,caption\n{name},a cup",
    }
    found, skipped = captions_of(tmp_path, {form.format(name): texts.get(form, "a cup")}, [video])
    assert (found, skipped) == ({video: "a cup"}, [])


def test_two_names_that_differ_in_spelling_alone_have_a_caption_each(tmp_path):
    one, two = normalize("NFC", "é"), normalize("NFD", "é")
    found, _ = captions_of(tmp_path, {f"{one}.txt": "one", f"{two}.txt": "two"}, [f"{one}.mp4", f"{two}.mp4"])
    assert found == {f"{one}.mp4": "one", f"{two}.mp4": "two"}
