"""Which seams a model offers, and what is said where an edit changes another."""

from __future__ import annotations

import pytest
from frameloom.models.edits.edit import SEAMS
from frameloom.models.network.family import BESIDE_NETWORKS, INSTEAD, Family, check_offered

SD1 = Family("Stable Diffusion 1.x", is_sd1=True)
SDXL = Family("SDXL", is_sdxl=True)
FLUX = Family("Flux")
WAN = Family("Wan", "video")


def test_every_seam_has_words_for_a_model_that_lacks_it():
    assert INSTEAD.keys() == set(SEAMS)


def test_sd1_offers_all_seams_and_others_of_pictures_those_beside_the_network():
    check_offered(SD1, SEAMS, "Test")
    check_offered(FLUX, ["windows"], "Test")
    check_offered(WAN, [], "Test")
    assert [seam for seam in SEAMS if FLUX.offers(seam)] == ["windows", "grid", "cfg"]
    assert not any(WAN.offers(seam) for seam in SEAMS)


@pytest.mark.parametrize("seam", [seam for seam in SEAMS if seam not in BESIDE_NETWORKS])
def test_an_edit_of_a_seam_that_a_video_model_lacks_says_what_to_do(seam):
    with pytest.raises(ValueError, match=r"got Wan, which makes video; expected Stable Dif") as refused:
        check_offered(WAN, [seam, "windows"], "Test")
    assert f"; {INSTEAD[seam]}, or load an SD1.5 " in str(refused.value)


def test_windows_and_guidance_alone_ask_for_a_model_of_pictures():
    with pytest.raises(ValueError, match=r"got Wan, .*; expected one that makes pictures .*Windows \(Ma"):
        check_offered(WAN, ["windows"], "Test")
    with pytest.raises(ValueError, match=r"got Wan, .*; expected one that makes pictures .*sampler's cfg"):
        check_offered(WAN, ["cfg"], "Test")
    with pytest.raises(
        ValueError, match=r"got Flux, .*1.x or SDXL, .*; load an SD1.5 or SDXL checkpoint, or the"
    ):
        check_offered(FLUX, ["windows", "slots"], "Test")
    with pytest.raises(ValueError, match=r"got Flux, .*; load an SD1.5 checkpoint or the demo model\.$"):
        check_offered(FLUX, ["slots", "input"], "Test")


def test_sdxl_offers_all_but_what_has_weights_for_sd1_alone():
    """PIA's and mask adapters' convolutions, SparseCtrl, CameraCtrl, GLIGEN."""
    lacking = [seam for seam in SEAMS if not SDXL.offers(seam)]
    assert set(lacking) == {"input", "residuals", "temporal_attention", "between"}
    for seam in lacking:
        with pytest.raises(
            ValueError, match=r"got SDXL, which makes pictures; expected Stable Diffusion 1.x, since"
        ):
            check_offered(SDXL, ["slots", seam], "Test")
