"""What every tuner owes: what it saves is read by stock tools, and what does not fit is refused in one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from tasks.backbones.base import SampleOptions, open_base
from tasks.shared import plugins, tensors
from tasks.shared.errors import UserError
from tasks.shared.settings import Base

KINDS = ("sd15", "sd21v", "sdxl")
EVERYTHING_ON = {
    "lora": {"rank": 2, "alpha": 3, "convolutions": True, "text_encoder": True},
    "full": {"text_encoder": True},
}


def made(name: str, **options):
    module = plugins.load("tuners", name)
    return module.Tuner(module.Params(**(options or EVERYTHING_ON[name])))


def moved(name: str, base: Path, out: Path, **options):
    """A base whose moving parameters were pushed about and saved."""
    backbone, tuner = open_base(Base(model=str(base), revision="unpinned"), "cpu"), made(name, **options)
    generator = torch.Generator().manual_seed(5)
    parameters = tuner.attach(backbone)
    with torch.no_grad():
        for parameter in parameters:
            parameter += 0.03 * torch.randn(parameter.shape, generator=generator)
    out.mkdir()
    tuner.save(backbone, out, {"base": backbone.identity, "phrase": "sks dog", "method": "none"})
    return backbone, tuner, parameters


def stock(base: Path) -> DiffusionPipeline:
    pipeline = DiffusionPipeline.from_pretrained(base, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    return pipeline


def drawn_by_stock(pipeline: DiffusionPipeline) -> np.ndarray:
    generator = torch.Generator().manual_seed(1)
    sizes = {"height": 32, "width": 32}
    image = pipeline(
        "a sks dog", num_inference_steps=3, guidance_scale=3.0, generator=generator, output_type="np", **sizes
    )
    return image.images[0] * 255


OPTIONS = SampleOptions(num_inference_steps=3, guidance_scale=3.0, scheduler="ddim")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", ["pytorch_lora_weights.safetensors", "kohya.safetensors"])
def test_both_lora_files_draw_our_pictures_in_a_stock_pipeline(file, kind, tiny_base, tmp_path):
    backbone, _, _ = moved("lora", tiny_base(kind), tmp_path / "out")
    ours = backbone.sample(["a sks dog"], [1], OPTIONS)[0]
    pipeline = stock(tiny_base(kind))
    assert np.abs(drawn_by_stock(pipeline) - ours).max() > 2, "the update must be visible"
    pipeline.load_lora_weights(tmp_path / "out", weight_name=file)
    assert np.abs(drawn_by_stock(pipeline) - ours).max() < 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_full_components_draw_our_pictures_in_a_stock_pipeline(kind, tiny_base, tmp_path):
    backbone, _, _ = moved("full", tiny_base(kind), tmp_path / "out")
    ours = backbone.sample(["a sks dog"], [1], OPTIONS)[0]
    pipeline = stock(tiny_base(kind))
    pipeline.unet = UNet2DConditionModel.from_pretrained(tmp_path / "out" / "unet")
    pipeline.text_encoder = CLIPTextModel.from_pretrained(tmp_path / "out" / "text_encoder")
    if kind == "sdxl":
        pipeline.text_encoder_2 = CLIPTextModelWithProjection.from_pretrained(
            tmp_path / "out" / "text_encoder_2"
        )
    assert np.abs(drawn_by_stock(pipeline) - ours).max() < 0.6


@pytest.mark.parametrize("name", plugins.names("tuners"))
def test_an_option_that_is_off_moves_nothing_of_its_own(name, tiny_base, tmp_path):
    backbone, tuner, parameters = moved(name, tiny_base("sd15"), tmp_path / "out", text_encoder=False)
    assert not tuner.trains_text
    assert not any(parameter.requires_grad for parameter in backbone.pipeline.text_encoder.parameters())
    trainable = [p for p in backbone.parameters() if p.requires_grad]
    assert {id(p) for p in trainable} == {id(p) for p in parameters} and len(trainable) == len(parameters)
    assert all(parameter.dtype == torch.float32 for parameter in parameters)


def test_lora_starts_where_the_base_is(tiny_base):
    backbone = open_base(Base(model=str(tiny_base("sd15")), revision="unpinned"), "cpu")
    before = backbone.sample(["a sks dog"], [1], OPTIONS)
    made("lora").attach(backbone)
    assert np.array_equal(backbone.sample(["a sks dog"], [1], OPTIONS), before)


def test_lora_options_are_each_where_they_belong(tiny_base):
    backbone = open_base(Base(model=str(tiny_base("sd15")), revision="unpinned"), "cpu")
    made("lora", rank=3, alpha=7, dropout=0.25).attach(backbone)
    config = backbone.denoiser.peft_config["subject"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (3, 7, 0.25)
    adapted = [name for name, _ in backbone.denoiser.named_modules() if name.endswith("lora_A")]
    assert adapted and all(".attn" in name for name in adapted)


def test_kohya_names_and_facts(tiny_base, tmp_path):
    """Names as sd-scripts writes them; one text encoder is lora_te, two are lora_te1 and lora_te2."""
    from safetensors.torch import load_file

    for kind, prefixes in (
        ("sd15", {"lora_unet", "lora_te"}),
        ("sdxl", {"lora_unet", "lora_te1", "lora_te2"}),
    ):
        moved("lora", tiny_base(kind), tmp_path / kind)
        state = load_file(tmp_path / kind / "kohya.safetensors")
        assert {"_".join(key.split("_")[:2]) for key in state} == prefixes
        assert all(float(value) == 3 for key, value in state.items() if key.endswith(".alpha"))
    assert "lora_te_text_model_encoder_layers_1_self_attn_q_proj.lora_down.weight" in load_file(
        tmp_path / "sd15" / "kohya.safetensors"
    )
    facts = tensors.metadata(tmp_path / "sdxl" / "kohya.safetensors")
    assert (facts["ss_network_dim"], facts["ss_network_alpha"]) == ("2", "3")
    assert facts["modelspec.trigger_phrase"] == "sks dog" and '"method": "none"' in facts["dreamline"]


@pytest.mark.parametrize("name", plugins.names("tuners"))
def test_files_that_are_missing_or_of_another_base_are_refused(name, tiny_base, tmp_path):
    moved(name, tiny_base("sdxl"), tmp_path / "out")
    backbone = open_base(Base(model=str(tiny_base("sd15")), revision="unpinned"), "cpu")
    before = backbone.sample(["a sks dog"], [1], OPTIONS)
    for folder, match in (
        (tmp_path / "out", "does not fit base.model"),
        (tmp_path / "nowhere", "run the stage"),
    ):
        with pytest.raises(UserError, match=match) as caught, made(name).installed(backbone, folder):
            pass
        assert "\n" not in str(caught.value)
        assert np.array_equal(backbone.sample(["a sks dog"], [1], OPTIONS), before)


def test_the_table_covers_every_file():
    assert set(EVERYTHING_ON) == set(plugins.names("tuners"))
