"""Two training steps and one picture at Stable Diffusion 1.5's full size, with random weights: memory and seconds.

    python -m bench.full_size --work an/empty/folder

No weights are downloaded: the networks have SD 1.5's shapes (860 M parameters in the denoiser) and random numbers, which cost
the same to compute with. Needs 8 GB of disk and about 12 GB of memory.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

from bench.fine_tune_vs_diffusers import write_inputs
from tasks.shared import params
from tasks.shared.settings import find_project

RESULT = Path(__file__).parent / "results" / "full_size.json"
SIZE_PX = 512


def write_random_sd15(folder: Path, tokenizer: Path) -> None:
    """A diffusers folder of SD 1.5's shapes; the tokenizer is the miniature's, whose ids are a part of SD's range."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        max_position_embeddings=77, projection_dim=768,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=SIZE_PX,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, scaling_factor=0.18215,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer),
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        scheduler=PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def measured(stage: str, flags: dict[str, Path]) -> dict[str, float]:
    """Run a stage as its own process; wall seconds and the largest memory of any process so far."""
    began = time.monotonic()
    command = [sys.executable, "-m", f"tasks.{stage}", *(f"--{key}={value}" for key, value in flags.items())]
    subprocess.run(command, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    peak_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"seconds": round(time.monotonic() - began, 1), "peak_gib": round(peak_gib, 2)}


def main() -> None:
    """Build, train two steps, draw one picture, write one result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="an empty folder for weights and outputs")
    work, project = parser.parse_args().work.resolve(), find_project(Path.cwd())
    if not (work / "sd15" / "model_index.json").is_file():
        write_random_sd15(work / "sd15", project / "data" / "miniature" / "tokenizer")
    write_inputs(work, SIZE_PX, photos=1, class_pictures=1)
    tree = params.read_yaml(project / "params.yaml")
    tree["base"] = {"model": str(work / "sd15"), "revision": "unpinned", "dtype": "bfloat16"}
    tree["fine_tune"] |= {
        "max_train_steps": 2, "train_batch_size": 1, "validation_steps": 0, "mixed_precision": "bf16",
        "gradient_checkpointing": True, "learning_rate": 1e-4,
    }  # fmt: skip
    tree["methods"]["dreambooth"]["tuner"] = {"name": "lora", "rank": 8}
    tree["sample"] |= {
        "prompts": ["a {subject}"],
        "seeds": [1],
        "num_inference_steps": 2,
        "num_class_images": 2,
    }
    tree["sample"] |= {"batch_size": 1, "dtype": "bfloat16"}
    (work / "params.yaml").write_text(json.dumps(tree))
    shared = {"params": work / "params.yaml", "subject": work / "subject.yaml"}
    result = {
        "fine_tune, 2 steps": measured(
            "fine_tune",
            {"segment": work / "segment", "prior": work / "class_prior", "out": work / "fine_tune", **shared},
        ),
        "sample, 4 pictures of 2 steps": measured(
            "sample", {"fine_tune": work / "fine_tune", "out": work / "sample", **shared}
        ),
        "setting": {
            "size_px": SIZE_PX,
            "rank": 8,
            "rows": 2,
            "precision": "bf16",
            "gradient_checkpointing": True,
        },
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
