"""A base goes from stage to stage only as it was opened."""

import pytest

from tasks.backbones import _warm as warm
from tasks.backbones.base import SampleOptions
from tasks.shared import tensors
from tasks.shared.settings import Base
from tasks.tuners import lora

LOOK = (["a dog"], [1], SampleOptions(num_inference_steps=2))


@pytest.fixture
def base(tiny_base, monkeypatch):
    monkeypatch.setattr(warm, "_waiting", [])
    return Base(model=str(tiny_base("sd15")), revision="unpinned")


def test_one_that_is_given_back_is_taken_again(base):
    first = warm.take(base)
    assert warm.take(base) is not first  # taken is taken
    warm.give_back(base, first)
    assert warm.take(base) is first


def test_another_base_or_precision_is_opened(base, tiny_base):
    first = warm.take(base)
    warm.give_back(base, first)
    assert warm.take(base.model_copy(update={"dtype": "bfloat16"})) is not first
    warm.give_back(base, first)
    assert warm.take(Base(model=str(tiny_base("sd21v")), revision="unpinned")) is not first


def test_weights_that_changed_on_disk_are_opened_anew(base, tiny_base, tmp_path):
    import shutil

    import safetensors.torch

    copy = shutil.copytree(tiny_base("sd15"), tmp_path / "base")
    own = Base(model=str(copy), revision="unpinned")
    first = warm.take(own)
    warm.give_back(own, first)
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors.save(
        file, {name: t + 1 for name, t in safetensors.torch.load_file(file).items()}, {"format": "pt"}
    )
    assert warm.take(own) is not first


def test_a_base_in_training_does_not_wait(base):
    backbone = warm.take(base)
    lora.Tuner(lora.Params()).attach(backbone)
    warm.give_back(base, backbone)
    assert warm.take(base) is not backbone


def test_after_an_adapter_was_installed_it_draws_as_before(base, tmp_path):
    tuner = lora.Tuner(lora.Params())
    trained = warm.take(base)
    for parameter in tuner.attach(trained):
        parameter.data += 0.1
    tuner.save(trained, tmp_path, {})
    backbone = warm.take(base)
    plain = backbone.sample(*LOOK)
    with tuner.installed(backbone, tmp_path):
        assert (backbone.sample(*LOOK) != plain).any()
    warm.give_back(base, backbone)
    again = warm.take(base)
    assert again is backbone
    assert (again.sample(*LOOK) == plain).all()
