"""The pack in a running ComfyUI, over HTTP, with the client of docs/api.md."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request

import pytest
import torch
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.few_steps import FewStepSettings
from frameloom.tests.contract.test_decode_to_video import read
from frameloom.tests.host.server import PACK_FOLDER, ROOT, START_SECONDS, documented_client, running_server
from frameloom.tests.support.storyboard_graph import check_storyboard_files, storyboard_graph
from frameloom.tools import object_info
from frameloom.tools.schemas import golden
from PIL import Image
from safetensors.torch import load_file

pytestmark = pytest.mark.host

API = ROOT / "workflows" / "api"
TRAINING = API / "train_motion_demo.json"
FEW_STEPS = API / "train_few_steps_demo.json"
WORKFLOWS = sorted({*API.glob("*_demo.json"), API / "layout_prior.json"} - {TRAINING, FEW_STEPS})
# Lengths that neither a path nor an empty latent decides; of other such workflows, a clip is expected.
FRAMES = {
    "animate_image_demo": 16,
    "animate_image_adapter_demo": 16,
    "layout_video_demo": 12,
    "layout_masks_demo": 12,
    "storyboard_demo": 24,
    "prompt_travel_demo": 32,
}
PICTURE = ROOT / "assets" / "inputs" / "frameloom_first_frame.png"
SIDE = 64


def queue(server, graph, folder, inputs=()):
    client = documented_client(folder)
    return asyncio.run(client.run(server.url, graph, folder / "fetched", inputs))


def assert_all_nodes_present(server):
    info = server.get("/object_info")
    ours = {name for name in info if name.startswith("Frameloom_")}
    assert ours == set(golden()), server.log.read_text()[-4000:]
    for name in ours:
        entry = info[name]
        assert entry["description"]
        assert entry["category"].startswith("frameloom/")


def short(graph):
    """Return a graph of fewer steps on a smaller canvas: the files and their frames are what is claimed here."""
    kinds = {node["class_type"] for node in graph.values()}
    # The first cut of Text2Video-Zero is at the seventh step; its node places two levels among its steps.
    most = 8 if "SplitSigmas" in kinds else 2
    for node in graph.values():
        inputs = node["inputs"]
        if "steps" in inputs and node["class_type"] != "Frameloom_ZeroShotSampler":
            inputs["steps"] = min(inputs["steps"], most)
        inputs |= {side: SIDE for side in ("width", "height") if inputs.get(side) == 128}
    return graph


def run_and_check(server, graph, folder, name):
    files = queue(server, graph, folder)
    savers = [node for node in graph.values() if node["class_type"].startswith("Save")]
    assert len(files) >= len(savers), f"{len(savers)} nodes save, got {files}"
    given = {node["class_type"]: node["inputs"] for node in graph.values()}
    frames = FRAMES.get(name)
    if "Frameloom_MotionPath" in given:
        frames = given["Frameloom_MotionPath"]["frames"]
    elif name not in FRAMES and "EmptyLatentImage" in given:
        frames = given["EmptyLatentImage"]["batch_size"]
    for file in files:
        assert file.stat().st_size > 100
        if file.suffix == ".webp":
            with Image.open(file) as picture:
                assert picture.n_frames == frames if frames else picture.n_frames > 1
                assert picture.size == (SIDE, SIDE)
    return files


def test_every_node_is_in_object_info(server):
    assert_all_nodes_present(server)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_demo_workflow_makes_its_files(server, path, tmp_path):
    run_and_check(server, short(json.loads(path.read_text())), tmp_path, path.stem)


def test_the_documented_client_uploads_what_a_workflow_loads(server, tmp_path):
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": PICTURE.name}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "loaded"}},
    }
    (file,) = queue(server, graph, tmp_path, [PICTURE])
    with Image.open(file) as saved, Image.open(PICTURE) as given:
        assert saved.convert("RGB").tobytes() == given.convert("RGB").tobytes()


def test_a_motion_module_is_trained_saved_and_sampled_in_one_graph(server, tmp_path):
    graph = json.loads(TRAINING.read_text())
    graph["3"]["inputs"]["clips"] = 2
    graph["4"]["inputs"]["steps"] = 3
    graph["5"]["inputs"]["folder"] = "models"
    graph["11"]["inputs"]["steps"] = 2
    runs = server.base / "user" / "frameloom" / "training"
    earlier = set(runs.glob("*"))
    files = queue(server, graph, tmp_path)
    assert {path.suffix for path in files} == {".webp", ".png"}
    saved = server.base / "models" / "animatediff_models" / "frameloom" / "circle_00001_.safetensors"
    trained = read_motion_weights(saved)
    bundled = read_motion_weights(ROOT / "assets" / "demo" / "motion.safetensors")
    assert trained.size == bundled.size
    assert any(not torch.equal(value, bundled.state[name]) for name, value in trained.state.items())
    (run,) = {*runs.iterdir()} - earlier
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_module_is_taught_to_draw_in_few_steps_and_its_settings_are_read_back_in_one_graph(
    server, tmp_path
):
    graph = json.loads(FEW_STEPS.read_text())
    graph["3"]["inputs"]["clips"] = 4
    graph["4"]["inputs"]["steps"] = 2
    graph["5"]["inputs"]["folder"] = "models"
    files = queue(server, graph, tmp_path)
    assert {path.suffix for path in files} == {".webp", ".png"}
    saved = server.base / "models" / "animatediff_models" / "frameloom" / "few_steps_00001_.safetensors"
    assert read_motion_weights(saved).few_steps == FewStepSettings(4)


def test_a_prior_is_trained_and_asked_in_one_graph(server, tmp_path):
    graph = json.loads((API / "train_layout_prior.json").read_text())
    graph["1"]["inputs"]["steps"] = 20
    files = queue(server, graph, tmp_path)
    assert [path.suffix for path in files].count(".png") >= 2
    (prior,) = (server.base / "models" / "layout_priors").iterdir()
    assert prior.name == "my_layouts_00001_.safetensors"
    chosen = {"2": graph["2"], "3": graph["3"]}
    chosen["2"]["inputs"] = {**graph["2"]["inputs"], "file": prior.name}
    del chosen["2"]["inputs"]["trained"]
    assert queue(server, chosen, tmp_path)
    chosen["2"]["inputs"]["file"] = "none"
    with pytest.raises(ValueError, match="file='none'; expected a layout prior"):
        queue(server, chosen, tmp_path)


def test_one_graph_draws_and_samples_every_scene_and_joins_them(server, tmp_path):
    check_storyboard_files(queue(server, storyboard_graph(), tmp_path))


def test_server_log_has_no_error_of_ours(server):
    log = server.log.read_text()
    assert not re.search(rf"(IMPORT FAILED|comfy_entrypoint).*{PACK_FOLDER}", log)
    assert PACK_FOLDER in log, "ComfyUI did not say that it loaded the pack"


def test_help_page_of_every_node_is_served(server):
    for name in golden():
        with urllib.request.urlopen(
            f"{server.url}/extensions/{PACK_FOLDER}/docs/{name}.md", timeout=60
        ) as reply:
            assert reply.read().strip(), name


def small_graph(**sampler):
    """Text to video with core's KSampler and SaveLatent, 4 frames, 2 steps."""
    return {
        "1": {"class_type": "Frameloom_DemoModelLoader", "inputs": {}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red circle", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": SIDE, "height": SIDE, "batch_size": 4}},
        "4": {
            "class_type": "Frameloom_MotionModuleLoader",
            "inputs": {"file": "frameloom_demo_motion.safetensors"},
        },
        "5": {
            "class_type": "Frameloom_ApplyMotionModule",
            "inputs": {
                "model": ["1", 0], "motion": ["4", 0], "strength": 1.0, "start_percent": 0.0, "end_percent": 1.0,
                "beta_schedule": "auto",
            },
        },
        "6": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["5", 0], "seed": 1, "steps": 2, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal",
                "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0], "denoise": 1.0, **sampler,
            },
        },
        "7": {"class_type": "SaveLatent", "inputs": {"samples": ["6", 0], "filename_prefix": "small"}},
    }  # fmt: skip


@pytest.mark.parametrize(("form", "ending"), [("mp4 (H.264)", "mp4"), ("mkv (FFV1, lossless)", "mkv")])
def test_latents_become_a_video_file_that_clients_find(server, tmp_path, form, ending):
    graph = small_graph()
    graph["7"] = {
        "class_type": "Frameloom_DecodeToVideo",
        "inputs": {
            "latent": ["6", 0], "vae": ["1", 2], "fps": 12.5, "filename_prefix": "video/small", "format": form,
            "crf": 19, "frames_per_chunk": 3,
        },
    }  # fmt: skip
    graph["8"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["7", 0]}}
    graph["9"] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "from_video"}}
    files = queue(server, graph, tmp_path)
    assert [path.suffix for path in files].count(".png") == 4
    (path,) = [path for path in files if path.suffix == f".{ending}"]
    assert path.parent.name == "video"
    pictures, rate, texts = read(path)
    assert (pictures.shape, rate) == ((4, SIDE, SIDE, 3), 12.5)
    prompt = json.loads(texts["prompt"])
    assert {node: entry["inputs"] for node, entry in prompt.items()} == {
        node: entry["inputs"] for node, entry in graph.items()
    }
    folder = server.base / "output" / "video"
    assert all(path.name.startswith("small_") for path in folder.iterdir())


def recursion_graph(depth, seed=1):
    """12 jobs of four frames at depth 3, 39 at depth 4, and their latents."""
    graph = small_graph()
    sampling = {"seed": seed, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal"}
    scene = {"clip": ["1", 1], "tree": ["6", 0], "negative": ["2", 0]}
    graph["3"]["inputs"]["batch_size"] = 1
    graph["6"] = {
        "class_type": "Frameloom_NuwaPlan",
        "inputs": {
            "prompts": "a red circle", "length": 4, "depth": depth, "interpolation": "linear", "width": SIDE,
            "height": SIDE, "seconds_per_job": 0.0,
        },
    }  # fmt: skip
    graph["8"] = {
        "class_type": "Frameloom_NuwaKeyframes",
        "inputs": {
            "model": ["1", 0], "latent": ["3", 0], "steps": 2, "shared_noise": 0.4, "shared_attention": 1.0,
            **scene, **sampling,
        },
    }  # fmt: skip
    graph["9"] = {
        "class_type": "Frameloom_NuwaInterpolate",
        "inputs": {
            "model": ["5", 0], "keyframes": ["8", 0], "steps": 3, "start": "turned noise", "correlation": 0.7,
            "resample_rounds": 2, "resample_share": 0.4, "denoise": 0.75, **scene, **sampling,
        },
    }  # fmt: skip
    graph["7"]["inputs"]["samples"] = ["9", 0]
    return graph


def test_an_interrupted_recursion_is_kept_and_the_next_run_goes_on(server, tmp_path):
    """The queue goes on, too, with a model as it was."""
    (plain,) = queue(server, small_graph(), tmp_path)
    folder = server.base / "user" / "frameloom" / "nuwa"
    others = set(folder.glob("*/job-*"))

    def jobs():
        return sorted(set(folder.glob("*/job-*")) - others)

    async def interrupted():
        client = documented_client(tmp_path)
        run = asyncio.create_task(client.run(server.url, recursion_graph(3), tmp_path / "fetched"))
        while len(jobs()) < 3 and not run.done():
            await asyncio.sleep(0.05)
        await asyncio.to_thread(server.post, "/interrupt")
        await run

    with pytest.raises(RuntimeError, match="node 9: cancelled"):
        asyncio.run(interrupted())
    kept = {path: path.read_bytes() for path in jobs()}
    assert 3 <= len(kept) < 12
    other = small_graph(seed=2)
    other["7"]["inputs"]["samples"] = ["6", 0]
    assert queue(server, other, tmp_path)
    (again,) = queue(server, small_graph(), tmp_path)
    assert torch.equal(load_file(again)["latent_tensor"], load_file(plain)["latent_tensor"])
    (saved,) = queue(server, recursion_graph(3), tmp_path)
    assert load_file(saved)["latent_tensor"].shape == (28, 4, 8, 8)
    assert {path: path.read_bytes() for path in kept} == kept
    assert len(jobs()) == 12
    assert f"{len(kept)} of 12 jobs were finished" in server.log.read_text()


def test_the_documented_client_cancels_its_own_prompt_and_no_other(server, tmp_path):
    """One runs, two wait; the first that waits is cancelled, then the one that runs. The third is made."""
    client = documented_client(tmp_path)

    def queued():
        state = server.get("/queue")
        return len(state["queue_running"]), len(state["queue_pending"])

    def start(graph, name):
        return asyncio.create_task(client.run(server.url, graph, tmp_path / name))

    async def until(state):
        while await asyncio.to_thread(queued) != state:
            await asyncio.sleep(0.05)

    async def cancelled():
        running = start(recursion_graph(4, seed=11), "running")
        await until((1, 0))
        waiting = start(small_graph(seed=12), "waiting")
        await until((1, 1))
        last = start(small_graph(seed=13), "last")
        await until((1, 2))
        waiting.cancel()
        await until((1, 1))
        running.cancel()
        files = await last
        return [each.cancelled() for each in (running, waiting)], files

    ended, (saved,) = asyncio.run(asyncio.wait_for(cancelled(), START_SECONDS))
    assert ended == [True, True]
    assert load_file(saved)["latent_tensor"].shape[1:] == (4, 8, 8)
    assert {path.name for path in tmp_path.iterdir()} == {"client.py", "last"}
    assert queued() == (0, 0)


def test_too_many_frames_are_refused_in_words(server, tmp_path):
    graph = small_graph()
    graph["3"]["inputs"]["batch_size"] = 40
    with pytest.raises(RuntimeError, match=r"node 6: .*frames=40 is more than the \d+ .*Context Windows"):
        queue(server, graph, tmp_path)


def test_unknown_motion_file_is_refused_before_the_run(server, tmp_path):
    graph = small_graph()
    graph["4"]["inputs"]["file"] = "absent.safetensors"
    with pytest.raises(ValueError, match=r"absent\.safetensors.*not among its files"):
        queue(server, graph, tmp_path)


@pytest.fixture(scope="module")
def fresh(newest, tmp_path_factory):
    """A server without anything that a test may have saved."""
    with running_server(newest, tmp_path_factory.mktemp("fresh")) as each:
        yield each


def test_the_stored_schemas_are_the_hosts_own(newest, fresh):
    if newest.version != object_info.VERSION:
        pytest.skip(f"they are an extract of ComfyUI {object_info.VERSION}")
    live = fresh.get("/object_info")
    core = json.loads(object_info.CORE_FILE.read_text("utf-8"))
    assert core == {name: object_info.without_files(name, live[name]) for name in core}
    ours = {
        name: entry | {"python_module": None} for name, entry in live.items() if name.startswith("Frameloom_")
    }
    assert golden() == ours


def test_smoke_newest_host_runs_the_demo(fresh, tmp_path):
    assert_all_nodes_present(fresh)
    name = "animatediff_demo"
    run_and_check(fresh, short(json.loads((API / f"{name}.json").read_text())), tmp_path, name)
