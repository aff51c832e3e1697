"""Captions beside videos and in tables, in all the ways people write them; and files that are neither."""

import json
import random
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


ONE, TWO = normalize("NFC", "é"), normalize("NFD", "é")
MATCHES = {
    "a text file is of the video beside it": (
        VIDEOS,
        {"1066.txt": "a red\n  circle ", "deep/2000.TXT": "moves", "2000.txt": "of no video", "7.md": "no"},
        {"1066.mp4": "a red circle", "deep/2000.mp4": "moves"},
    ),
    "a text file goes before tables, and of tables the first by name": (
        VIDEOS,
        {
            "b.csv": "videoid,name\n7,late\n1066,late\n",
            "a.csv": "videoid,name\n7,one\n7,two\n1066,three\n",
            "1066.txt": "beside",
        },
        {"7.webm": "one", "1066.mp4": "beside"},
    ),
    "an id that several videos have needs their folder": (
        ["x/1.mp4", "y/1.mp4"],
        {"a.csv": "videoid,name,page_dir\n1,left,x\n1,nobody,z\n"},
        {"x/1.mp4": "left"},
    ),
    "a whole name is one video's, whatever else ends so": (
        ["1.mp4", "x/1.mp4"],
        {"a.csv": "file,caption\n1.mp4,above\nx/1.mp4,below\n"},
        {"1.mp4": "above", "x/1.mp4": "below"},
    ),
    "an empty caption leaves the word to the next": (
        VIDEOS,
        {
            "a.csv": "videoid,name\n7,  \n2000,\n2000,after\n",
            "1066.txt": " \n",
            "deep/2000.txt": "",
            "7.webm.txt": " ",
            "7.caption": "a dog",
        },
        {"deep/2000.mp4": "after", "7.webm": "a dog"},
    ),
    "two names that differ in spelling alone have a caption each": (
        [f"{ONE}.mp4", f"{TWO}.mp4"],
        {f"{ONE}.txt": "one", f"{TWO}.txt": "two"},
        {f"{ONE}.mp4": "one", f"{TWO}.mp4": "two"},
    ),
}


@pytest.mark.parametrize("case", MATCHES)
def test_a_caption_is_its_videos(tmp_path, case):
    videos, files, expected = MATCHES[case]
    assert captions_of(tmp_path, files, videos) == (expected, [])


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


NO_COLUMNS = "has the columns {}; expected videoid and name, as WebVid has, or file and caption;"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad.csv", b"videoid,name\n7,\xff\xfe\n", "is not UTF-8 (byte 15); save it as UTF-8"),
        ("bad.csv", "", NO_COLUMNS.format("(none)")),
        ("bad.csv", "a,b\n1,2\n", NO_COLUMNS.format("a, b")),
        ("bad.csv", 'videoid,name\n7,"' + "x" * 200_000 + '"\n', "field larger than field limit (131072)"),
        ("bad.jsonl", '{"file_name": "7", "text": "a"}\nno', "has text that is not JSON (Expecting value"),
        (
            "bad.jsonl",
            "\n" + "[" * 100_000,
            "has JSON with thousands of lists or objects within each other in line 2;",
        ),
        ("bad.jsonl", '["7", "a"]', "has no object in line 1; expected file_name and text in each"),
        ("bad.jsonl", '{"a": 1}', NO_COLUMNS.format("a")),
        (
            "bad.jsonl",
            '{"file_name": "gone", "text": "a"}',
            "names no video that is here; its first is 'gone'",
        ),
        ("bad.jsonl", "", NO_COLUMNS.format("(none)")),
    ],
    ids=["latin", "empty", "columns", "field", "no json", "deep", "list", "keys", "gone", "empty lines"],
)
def test_a_table_that_is_none_is_named_with_its_fault(tmp_path, name, content, reason):
    found, [skipped] = captions_of(tmp_path, {name: content, "7.txt": "stays"})
    assert found == {"7.webm": "stays"}
    assert skipped.name == name
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
    for _ in range(200):
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
