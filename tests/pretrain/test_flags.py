"""Flags of a `Params` class: validated, lists by commas, unknown values refused by name."""

import argparse

import pytest

from tasks.pretrain import flags, vae
from tasks.shared.errors import UserError


def read(*words: str) -> vae.Params:
    parser = argparse.ArgumentParser()
    flags.add(parser, vae.Params)
    return flags.read(parser.parse_args(words), vae.Params)


def test_what_is_given_is_taken_and_the_rest_is_the_default():
    assert read() == vae.Params()
    told = read("--channels", "32,64,128", "--learning_rate", "1e-3")
    assert told == vae.Params(channels=(32, 64, 128), learning_rate=1e-3)


def test_what_is_wrong_is_named():
    with pytest.raises(UserError, match="flags: channels"):
        read("--channels", "wide")
