"""What every method owes its caller, over every tuner and every kind of base. A new file in tasks/methods/ joins by itself."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.backbones.base import Backbone, SampleOptions, open_base
from tasks.methods import base as methods
from tasks.shared import plugins
from tasks.shared.settings import Base
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import Run
from tasks.training.options import Params

KINDS = ("sd15", "sd21v", "sdxl")
TUNERS = {
    "lora": {"name": "lora", "rank": 2, "alpha": 3, "convolutions": True, "text_encoder": True},
    "full": {"name": "full", "text_encoder": True},
}
"""Each tuner with everything on that it has."""

OPTIONS = Params(max_train_steps=2, learning_rate=0.01, validation_steps=0, train_batch_size=2)
WORDS = {"subject": "sks dog", "class": "dog"}


def pictures(count: int, seed: int) -> methods.Pictures:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return methods.Pictures(pixels, pixels[..., 0] > 100)


def opened(folder: Path) -> Backbone:
    return open_base(Base(model=str(folder), revision="unpinned"), "cpu")


def looks(backbone: Backbone) -> np.ndarray:
    return backbone.sample(["a sks dog", "a dog"], [1, 2], SampleOptions(num_inference_steps=2))


def weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": tensor.clone()
        for name, m in backbone.modules.items()
        for key, tensor in m.state_dict().items()
    }


def made(name: str, tuner: str) -> methods.Method:
    module = plugins.load("methods", name)
    chosen = {"tuner": TUNERS[tuner]} if "tuner" in module.Params.model_fields else {}
    return module.Method(module.Params(**chosen))


def fitted(method: methods.Method, backbone: Backbone, out: Path) -> Run:
    method.observe(backbone, methods.Material(pictures(3, 0), WORDS, pictures(4, 1), 2))
    run = Run(method, backbone, OPTIONS, Checkpoints(out / "work", "key"))
    run.train()
    out.mkdir(exist_ok=True)
    method.save(backbone, out, {"base": backbone.identity, "phrase": "sks dog"})
    return run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tuner", plugins.names("tuners"))
@pytest.mark.parametrize("name", plugins.names("methods"))
class TestEvery:
    def test_installs_what_it_trained_and_leaves_no_trace(self, name, tuner, kind, tiny_base, tmp_path):
        trained = opened(tiny_base(kind))
        before = weights(trained)
        run = fitted(made(name, tuner), trained, tmp_path / "out")
        shown = run.moving.stack.plain if run.moving.stacked else run.parameters
        moved = {id(parameter) for parameter in shown}
        frozen = {
            f"{n}.{key}"
            for n, m in trained.modules.items()
            for key, p in m.named_parameters()
            if id(p) not in moved
        }
        after = weights(trained)
        plain = {key.replace(".base_layer", "") for key in frozen}
        assert plain, "nothing is frozen: not even the VAE"
        for key in frozen:
            assert torch.equal(after[key], before[key.replace(".base_layer", "")]), (
                f"{key} is frozen but moved"
            )
        assert run.parameters and all(torch.isfinite(p).all() for p in run.parameters)
        personalised = looks(trained)

        fresh = opened(tiny_base(kind))
        modules = [type(module) for m in fresh.modules.values() for module in m.modules()]
        base, own = looks(fresh), weights(fresh)
        with made(name, tuner).installed(fresh, tmp_path / "out"):
            assert np.array_equal(looks(fresh), personalised)
            assert not any(parameter.requires_grad for parameter in fresh.parameters())
        assert not np.array_equal(base, personalised)
        assert np.array_equal(looks(fresh), base)
        assert all(torch.equal(tensor, own[key]) for key, tensor in weights(fresh).items()) and len(
            own
        ) == len(weights(fresh))
        assert [type(module) for m in fresh.modules.values() for module in m.modules()] == modules

    def test_leaves_no_trace_when_what_is_done_inside_fails(self, name, tuner, kind, tiny_base, tmp_path):
        fitted(made(name, tuner), opened(tiny_base(kind)), tmp_path / "out")
        fresh = opened(tiny_base(kind))
        own = weights(fresh)
        with pytest.raises(ZeroDivisionError), made(name, tuner).installed(fresh, tmp_path / "out"):
            raise ZeroDivisionError
        assert weights(fresh).keys() == own.keys()
        assert all(torch.equal(tensor, own[key]) for key, tensor in weights(fresh).items())


@pytest.mark.parametrize("tuner", plugins.names("tuners"))
@pytest.mark.parametrize("name", plugins.names("methods"))
def test_the_same_seed_gives_the_same_bytes_whatever_the_global_state(name, tuner, tiny_base, tmp_path):
    for out in ("one", "two"):
        fitted(made(name, tuner), opened(tiny_base("sd15")), tmp_path / out)
        torch.rand(11), np.random.rand(11)  # noqa: NPY002 - burn global random numbers
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert any(path.suffix == ".safetensors" for path in files)
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes(), path


@pytest.mark.parametrize("tuner", plugins.names("tuners"))
@pytest.mark.parametrize("name", plugins.names("methods"))
def test_training_leaves_the_global_random_state_alone(name, tuner, tiny_base, tmp_path):
    backbone, state = opened(tiny_base("sd15")), torch.get_rng_state()
    fitted(made(name, tuner), backbone, tmp_path / "out")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", plugins.names("methods"))
def test_the_manifest_is_enough_to_install(name):
    method = made(name, "full")
    again = methods.from_manifest({"method": name, "method_params": method.params.model_dump(mode="json")})
    assert again.params == method.params and type(again) is type(method)


@pytest.mark.parametrize(
    ("family", "name"), [(f, n) for f in ("methods", "tuners") for n in plugins.names(f)]
)
def test_the_docstring_names_source_cost_and_difference(family, name):
    text = plugins.load(family, name).__doc__
    assert re.search(r"Source: .*arXiv:\d{4}\.\d{5}", text, re.S) and "Cost:" in text and "Differs:" in text


def test_the_sweep_covers_every_file():
    assert set(TUNERS) == set(plugins.names("tuners")), "name the new tuner here with all its options on"
    assert "dreambooth" in plugins.names("methods")
    logging.getLogger(__name__).info("%d methods", len(plugins.names("methods")))
