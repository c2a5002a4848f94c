"""Several subjects in one step: each ends where it would have ended alone, whatever happens to the others."""

import numpy as np
import pytest
import torch
from torch import nn

from tasks.backbones.base import Backbone, SampleOptions, open_base
from tasks.methods import base as methods
from tasks.methods import dreambooth
from tasks.shared import plugins
from tasks.shared.errors import UserError
from tasks.shared.settings import Base
from tasks.training import moving
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import Training
from tasks.training.member import Member
from tasks.training.options import Params
from tasks.tuners import _row_by_row
from tasks.tuners import base as tuners

EVERYWHERE = {"name": "lora", "rank": 2, "alpha": 3, "convolutions": True, "text_encoder": True}
OPTIONS = Params(
    max_train_steps=3, train_batch_size=2, learning_rate=0.01, lr_scheduler="cosine", lr_warmup_steps=1, weight_decay=0.2,
    max_grad_norm=0.05, snr_gamma=5.0, ema_decay=0.9, random_flip=True, masked_loss=True, validation_steps=0,
)  # fmt: skip
WORDS = ("sks dog", "red car", "xyz vase")
BATCH = 2


def pictures(count: int, seed: int) -> methods.Pictures:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return methods.Pictures(pixels, pixels[..., 0] > 100)


def opened(tiny_base, kind: str = "sd15") -> Backbone:
    return open_base(Base(model=str(tiny_base(kind)), revision="unpinned"), "cpu")


def member(
    backbone: Backbone, number: int, work, tuner=None, every: int = 0, watch=None, size=BATCH
) -> Member:
    """Subject `number`: its own photos, count of photos, words, prior and seed."""
    method = dreambooth.Method(
        dreambooth.Params(tuner=tuner or EVERYWHERE, prior_loss_weight=0.5 + number / 4)
    )
    words = {"subject": WORDS[number], "class": WORDS[number].split()[1]}
    photos, prior = pictures(3 + number, number), pictures(5, 10 + number)
    method.observe(backbone, methods.Material(photos, words, prior, size, True, number))
    return Member(method, number, Checkpoints(work / str(number), "key", every), watch)


def trained(tiny_base, work, numbers, options=OPTIONS, kind="sd15", **told) -> Training:
    backbone = opened(tiny_base, kind)
    training = Training([member(backbone, n, work, **told) for n in numbers], backbone, options)
    training.train_all()
    return training


def learnt(training: Training, number: int) -> list[torch.Tensor]:
    """What the base holds once a member is shown."""
    training.show(number)
    plain = training.moving.stack.plain if training.moving.stacked else training.parameters
    return [parameter.detach().clone() for parameter in plain]


def apart(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Size of the difference of two adapters, relative to the size of the second."""
    whole, known = (torch.cat([tensor.flatten() for tensor in side]) for side in (one, other))
    return float((whole - known).norm() / known.norm())


def by_peft(methods, backbone, starts) -> moving.Alone:
    """One subject by PEFT's own layers, for `moving.of`: arithmetic that ours can be held against."""
    with starts[0]:
        return moving.Alone(methods[0].prepare(backbone))


@pytest.mark.parametrize("kind", ["sd21v", "sdxl"])
def test_each_ends_where_peft_would_have_brought_it_alone(kind, tiny_base, tmp_path, monkeypatch):
    options = OPTIONS.model_copy(
        update={"gradient_accumulation_steps": 2, "validation_steps": 3, "max_train_steps": 2}
    )
    joint = trained(tiny_base, tmp_path / "joint", (0, 1, 2), options, kind)
    monkeypatch.setattr(moving, "of", by_peft)
    for number in (0, 2):
        alone = trained(tiny_base, tmp_path / "alone", (number,), options, kind)
        assert not alone.moving.stacked
        assert apart(learnt(joint, number), learnt(alone, 0)) < 1e-4
        ours, theirs = joint.members[number].curve, alone.members[0].curve
        assert [row.keys() for row in ours] == [row.keys() for row in theirs]
        for mine, own in zip(ours, theirs, strict=True):
            assert mine == pytest.approx(own, rel=1e-4, abs=2e-6)
        if number:
            assert apart(learnt(joint, number), learnt(joint, 0)) > 0.1, "each has an adapter of its own"


def test_pictures_on_the_way_are_of_the_member_alone(tiny_base, tmp_path):
    drawn: dict[str, list] = {"joint": [], "alone": []}

    def watching(name: str, backbone: Backbone):
        def watch(step: int) -> dict[str, float]:
            drawn[name].append(
                backbone.sample(["a sks dog"], [1], SampleOptions(num_inference_steps=3)).astype(int)
            )
            return {"dino": step / 10}

        return watch

    for name, numbers in (("joint", (0, 1)), ("alone", (1,))):
        backbone = opened(tiny_base)
        members = [member(backbone, n, tmp_path / name) for n in numbers]
        members[-1].watch = watching(name, backbone)
        Training(members, backbone, OPTIONS.model_copy(update={"validation_steps": 2})).train_all()
        assert [row["dino"] for row in members[-1].curve if "dino" in row] == [0.2, 0.3]
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(drawn["joint"], drawn["alone"], strict=True))


def spoilt(method: methods.Method, fails: str) -> None:
    """Make a method's loss no number from some step on."""
    plain, seen = method.terms, []

    def terms(losses: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(1)
        factor = float("nan") if len(seen) > 1 else 1.0
        return {name: term * factor for name, term in plain(losses).items()}

    method.terms = terms  # type: ignore[method-assign]


@pytest.mark.parametrize("fault", ["no number", "watch"])
def test_one_that_fails_leaves_and_the_others_do_not_notice(fault, tiny_base, tmp_path, caplog):
    backbone = opened(tiny_base)
    members = [member(backbone, number, tmp_path / "joint") for number in (0, 1, 2)]
    if fault == "no number":
        spoilt(members[1].method, fault)
    else:

        def watch(step: int) -> dict[str, float]:
            raise UserError("the gate refuses")

        members[1].watch = watch
    joint = Training(members, backbone, OPTIONS.model_copy(update={"validation_steps": 2}))
    joint.train_all()
    expected = "half the learning_rate" if fault == "no number" else "the gate refuses"
    assert isinstance(members[1].failure, UserError) and expected in str(members[1].failure)
    assert joint.going_on == [0, 2]
    alone = trained(tiny_base, tmp_path / "alone", (2,))
    assert apart(learnt(joint, 2), learnt(alone, 0)) < 1e-4
    for number in (0, 2):
        assert len(members[number].curve) == OPTIONS.max_train_steps


class Killed(BaseException):
    pass


def killed_after(step: int, method: methods.Method) -> None:
    def after_step(done: int) -> None:
        if done == step:
            raise Killed

    method.after_step = after_step  # type: ignore[method-assign]


def broken_off(tiny_base, work, numbers, step: int) -> None:
    backbone = opened(tiny_base)
    members = [member(backbone, number, work, every=1) for number in numbers]
    killed_after(step, members[-1].method)
    with pytest.raises(Killed):
        Training(members, backbone, OPTIONS).train_all()


def test_a_killed_group_goes_on_to_the_same_bytes(tiny_base, tmp_path, caplog):
    whole = trained(tiny_base, tmp_path / "whole", (0, 1))
    broken_off(tiny_base, tmp_path / "broken", (0, 1), 3)
    with caplog.at_level("INFO"):
        again = trained(tiny_base, tmp_path / "broken", (0, 1), every=1)
    assert "going on at step 2 of 3" in caplog.text
    for number in (0, 1):
        assert all(map(torch.equal, learnt(again, number), learnt(whole, number)))
        assert again.members[number].curve == whole.members[number].curve


def test_a_member_of_a_killed_group_goes_on_alone_or_in_other_company(tiny_base, tmp_path, caplog):
    broken_off(tiny_base, tmp_path / "broken", (0, 1), 3)
    broken_off(tiny_base, tmp_path / "broken", (2,), 2)  # a step behind: 2 is not saved, 1 is
    with caplog.at_level("INFO"):
        company = trained(tiny_base, tmp_path / "broken", (2, 1), every=1)
        alone = trained(tiny_base, tmp_path / "broken", (0,), every=1)
    assert "going on at step 1 of 3" in caplog.text and "going on at step 2 of 3" in caplog.text
    for training, at, number in ((company, 1, 1), (alone, 0, 0)):
        undisturbed = trained(tiny_base, tmp_path / f"own{number}", (number,))
        assert apart(learnt(training, at), learnt(undisturbed, 0)) < 1e-4


def test_batches_of_different_sizes_are_refused(tiny_base, tmp_path):
    backbone = opened(tiny_base)
    members = [member(backbone, n, tmp_path, size=size) for n, size in ((0, 2), (1, 3))]
    with pytest.raises(UserError, match="different sizes"):
        Training(members, backbone, OPTIONS).train_all()


def test_an_optimizer_that_mixes_subjects_is_refused(tiny_base, tmp_path):
    backbone = opened(tiny_base)
    members = [member(backbone, number, tmp_path) for number in (0, 1)]
    with pytest.raises(UserError, match="prodigy looks at all numbers at once"):
        Training(members, backbone, OPTIONS.model_copy(update={"optimizer": "prodigy"}))


def test_a_base_with_dropout_of_its_own_is_refused(tiny_base, tmp_path):
    backbone = opened(tiny_base)
    next(m for m in backbone.denoiser.modules() if isinstance(m, nn.Dropout)).p = 0.1
    members = [member(backbone, number, tmp_path) for number in (0, 1)]
    with pytest.raises(UserError, match="dropout of its own"):
        Training(members, backbone, OPTIONS)
    by_itself = Training(members[:1], backbone, OPTIONS)
    by_itself.train_all()
    assert by_itself.step == OPTIONS.max_train_steps, "alone it can be trained, by chance of its own"


def test_gradients_are_clipped_as_each_member_alone_would_have_them(tiny_base, tmp_path):
    backbone = opened(tiny_base)
    joint = Training([member(backbone, n, tmp_path) for n in (0, 1, 2)], backbone, OPTIONS).moving
    generator = torch.Generator().manual_seed(0)
    for parameter in joint.parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    own = [[nn.Parameter(p[n].detach().clone()) for p in joint.parameters] for n in range(3)]
    for n, parameters in enumerate(own):
        for mine, shared in zip(parameters, joint.parameters, strict=True):
            mine.grad = shared.grad[n].clone()
    known = [nn.utils.clip_grad_norm_(parameters, 0.5) for parameters in own]
    assert joint.clip(0.5) == known
    for n, parameters in enumerate(own):
        for mine, shared in zip(parameters, joint.parameters, strict=True):
            assert torch.equal(mine.grad, shared.grad[n])


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 9])
def test_layers_that_treat_rows_alike_say_what_they_said(rows):
    convolutions = {"tap": nn.Conv2d(6, 5, 1), "wide": nn.Conv2d(6, 5, 3), "down": nn.Conv2d(6, 5, 3, 2, 1)}
    network = nn.ModuleDict({"flat": nn.Linear(24, 10), **convolutions}).requires_grad_(False)
    assert _row_by_row.concerned(network) == list(network.values())
    pictures = [(name, (rows, 6, 4, 4)) for name in convolutions]
    for name, shape in (("flat", (rows, 24)), ("flat", (rows, 3, 24)), *pictures):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(rows), requires_grad=True)
        known = network[name](x)
        with _row_by_row.alike(_row_by_row.concerned(network)):
            found = network[name](x)
        assert torch.equal(network[name](x), known), "afterwards they are what they were"
        assert found.shape == known.shape and torch.allclose(found, known, atol=1e-6)
        slopes = [torch.autograd.grad(y.square().sum(), x)[0] for y in (found, known)]
        assert torch.allclose(*slopes, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [{"mixed_precision": "bf16", "max_grad_norm": 0.0, "ema_decay": 0.0}, {"gradient_checkpointing": True}],
    ids=lambda change: next(iter(change)),
)
def test_other_arithmetic_trains_together_as_well(change, tiny_base, tmp_path):
    options = OPTIONS.model_copy(update=change)
    joint = trained(tiny_base, tmp_path / "joint", (0, 1), options)
    alone = trained(tiny_base, tmp_path / "alone", (1,), options)
    bound = 0.2 if "mixed_precision" in change else 1e-4  # half precision rounds products differently
    assert apart(learnt(joint, 1), learnt(alone, 0)) < bound
    losses = [[row["loss"] for row in t.members[-1].curve] for t in (joint, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02 if "mixed_precision" in change else 1e-4)


@pytest.mark.parametrize("name", plugins.names("tuners"))
def test_every_tuner_stacks_or_says_that_it_does_not(name, tiny_base):
    module = plugins.load("tuners", name)
    tuner = module.Tuner(module.Params())
    assert tuner.stackable == (module.Tuner.stack is not tuners.Tuner.stack)
    method = dreambooth.Method(dreambooth.Params(tuner={"name": name}))
    assert (method.common() is not None) == tuner.stackable


def test_dropout_is_trained_one_by_one():
    dropping = {"name": "lora", "dropout": 0.1}
    assert dreambooth.Method(dreambooth.Params(tuner=dropping)).common() is None


@pytest.mark.parametrize("name", plugins.names("methods"))
def test_a_method_with_a_loss_of_its_own_is_trained_alone(name):
    module = plugins.load("methods", name)
    if module.Method(module.Params()).common() is not None:
        assert module.Method.loss_terms is methods.Method.loss_terms
