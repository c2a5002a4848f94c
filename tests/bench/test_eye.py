"""The eye that ships with the bench sees what ToyBench asks it about."""

import numpy as np

from bench.attribute_judge import ANSWERS, right
from bench.eye import open_eye
from tasks.toyworld import subjects
from tasks.toyworld.render import render


def test_it_names_class_and_setting_of_toybench_subjects():
    names = subjects.subjects()
    scenes = [subjects.subject_scenes(name, 1)[0] for name in names]
    pictures = np.stack([render(scene, 128).rgb for scene in scenes])
    asked = [
        {
            "class": ANSWERS["class"].index(subjects.subject_identity(name).cls),
            "setting": ANSWERS["setting"].index(scene.setting),
        }
        for name, scene in zip(names, scenes, strict=True)
    ]
    shares = right(open_eye(), pictures, asked)
    assert min(shares.values()) >= 0.9, shares
