"""Params of the stage fine_tune: everything about training that is not the method's."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.shared import params
from tasks.training import optimizers


class Params(params.Params):
    """How long, how fast and how exactly."""

    max_train_steps: int = Field(default=300, ge=1, le=1_000_000, description="updates of the parameters")
    train_batch_size: int = Field(
        default=4, ge=1, le=1024, description="photos a batch; as many class pictures join them"
    )
    gradient_accumulation_steps: int = Field(default=1, ge=1, le=1024, description="batches an update")
    learning_rate: float = Field(
        default=1e-3, gt=0, le=10, description="of the optimizer; near 1 for prodigy"
    )
    lr_scheduler: Literal[
        "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"
    ] = Field(default="constant", description="course of the learning rate")
    lr_warmup_steps: int = Field(default=0, ge=0, description="updates over which the rate rises")
    optimizer: optimizers.Name = Field(default="adamw", description="adamw, adamw8bit or prodigy")
    adam_beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the first moment")
    adam_beta2: float = Field(default=0.999, ge=0, lt=1, description="decay of the second moment")
    adam_epsilon: float = Field(
        default=1e-8, gt=0, le=1, description="added to the root of the second moment"
    )
    weight_decay: float = Field(
        default=1e-2, ge=0, le=10, description="decoupled decay, times the learning rate"
    )
    max_grad_norm: float = Field(default=1.0, ge=0, description="gradients are scaled down to it; 0: never")
    snr_gamma: float | None = Field(
        default=None, gt=0, description="min-SNR weights (5 is usual); null: none"
    )
    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="average of the parameters; 0: none")
    masked_loss: bool = Field(default=False, description="count the subject's part of the photos only")
    random_flip: bool = Field(default=False, description="mirror half of the pictures")
    mixed_precision: Literal["fp32", "bf16"] = Field(default="fp32", description="arithmetic of training")
    gradient_checkpointing: bool = Field(default=False, description="less memory, a third more time")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of everything that chance decides")
    validation_steps: int = Field(default=100, ge=0, description="updates between looks on the way; 0: none")
    validation_prompts: tuple[str, ...] = Field(
        default=("a {subject}", "a {class}"), max_length=16, description="pictures drawn at every look"
    )
    validation_inference_steps: int = Field(
        default=12, ge=1, le=200, description="denoiser calls of such a picture"
    )
    validation_judge: str | None = Field(
        default="data/judges/identity",
        description="ViT that says how like the photos the first of those pictures is: folder or Hub id; null: nobody",
    )
    validation_judge_revision: str = Field(
        default="main", description="Hub revision; for a folder main or the SHA-256 of its model.safetensors"
    )

    @model_validator(mode="after")
    def _warm_before_the_end(self) -> Self:
        if self.lr_warmup_steps and self.lr_warmup_steps >= self.max_train_steps:
            raise ValueError("lr_warmup_steps must be smaller than max_train_steps")
        return self
