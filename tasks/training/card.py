"""README.md of a trained result: what it is, what it was made from, how to load it with stock tools."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PIPELINE_OF = "DiffusionPipeline.from_pretrained"


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the card. No names of people, no time, no path: equal inputs give equal bytes.

    Args:
        facts: those of the manifest: base, method, phrase, class, kind, params, method_params.
    """
    base, options = facts["base"], facts["params"]
    lora = (folder / "pytorch_lora_weights.safetensors").is_file()
    components = sorted(path.name for path in folder.iterdir() if (path / "config.json").is_file())
    lines = [
        f"# {facts['phrase']}",
        "",
        f"A {facts['class']} personalised with {facts['method']}. Call it `{facts['phrase']}` in prompts.",
        "",
        f"- Base: `{base['model']}`, revision `{base['revision']}`; the result works on this base only",
        f"- Trained for {options['max_train_steps']} updates at learning rate {options['learning_rate']:g}, "
        f"{facts['photos']} photos and {facts['class_pictures']} class pictures",
        f"- Digest of all params: `{facts['params_digest']}`",
        "- The licence of the base holds for the result as well",
    ]
    if facts["kind"] == "person":
        lines.append("- Shows a person: use it only as their consent record allows, and not after it expires")
    lines += ["", "```python", "from diffusers import DiffusionPipeline"]
    if lora:
        lines += [
            f'pipeline = {PIPELINE_OF}("path/to/{base["model"]}")',
            'pipeline.load_lora_weights("path/to/this/folder", weight_name="pytorch_lora_weights.safetensors")',
        ]
    elif components:
        lines += [*_component_lines(components, base["model"])]
    lines += [f'picture = pipeline("a {facts["phrase"]} on the beach").images[0]', "```", ""]
    if lora:
        lines += ["`kohya.safetensors` holds the same numbers for programs that read kohya's names.", ""]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _component_lines(components: list[str], base: str) -> list[str]:
    classes = {
        "unet": ("diffusers", "UNet2DConditionModel"),
        "text_encoder": ("transformers", "CLIPTextModel"),
    }
    classes["text_encoder_2"] = ("transformers", "CLIPTextModelWithProjection")
    imports = [f"from {classes[name][0]} import {classes[name][1]}" for name in components]
    parts = [
        f'{name}={classes[name][1]}.from_pretrained("path/to/this/folder/{name}")' for name in components
    ]
    return [*imports, f'pipeline = {PIPELINE_OF}("path/to/{base}", {", ".join(parts)})']
