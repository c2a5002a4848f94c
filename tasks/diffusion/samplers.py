"""Samplers by name, built from the base's own noise schedule so that only the solver changes."""

from collections.abc import Mapping
from typing import Any

from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler

SAMPLERS = {"ddim": DDIMScheduler, "dpmpp_2m": DPMSolverMultistepScheduler, "euler": EulerDiscreteScheduler}
"""ddim: Song et al. 2021, arXiv:2010.02502 (eta 0); dpmpp_2m: Lu et al. 2022, arXiv:2211.01095; euler: Karras et al. 2022.

All three are deterministic: given its initial noise, a picture needs no further random number."""


def make(name: str, noise_schedule: Mapping[str, Any]) -> Any:
    """A fresh sampler; betas, prediction type and timestep spacing stay those of `noise_schedule`."""
    return SAMPLERS[name].from_config(noise_schedule)
