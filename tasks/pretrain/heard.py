"""Captions as the denoiser's training hears them: some empty, some with a word nobody knows."""

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from tasks.toyworld.captions import full_vocabulary


def with_unknown_word(
    tokens: np.ndarray, spoken: np.ndarray, start: int, end: int, rng: np.random.Generator
) -> np.ndarray:
    """A caption with a stranger in it: one to six letters or marks somewhere between its words.

    Args:
        tokens: start, caption, end, padding with `end`. int [l]
        spoken: what strangers are made of, the tokens of letters, digits and marks.
    """
    words = tokens[(tokens != start) & (tokens != end)]
    place = rng.integers(len(words) + 1)
    stranger = rng.choice(spoken, rng.integers(1, 7))
    sentence = np.concatenate([[start], words[:place], stranger, words[place:]])[: len(tokens) - 1]
    return np.concatenate([sentence, np.full(len(tokens) - len(sentence), end)])


class Captions:
    """Captions as training sees them: now and then empty, now and then with an unknown word."""

    def __init__(self, tokenizer: CLIPTokenizer, empty_share: float, unknown_share: float):
        vocab = tokenizer.get_vocab()
        signs = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
        self.spoken = np.array([vocab[sign + tail] for sign in signs for tail in ("", "</w>")])
        self.known = {vocab[word + "</w>"] for word in full_vocabulary() if word + "</w>" in vocab}
        self.spoken = self.spoken[~np.isin(self.spoken, list(self.known))]
        self.start, self.end = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.empty_share, self.unknown_share = empty_share, unknown_share

    def draw(self, tokens: np.ndarray, rng: np.random.Generator) -> Tensor:
        """int64 [b l] -> [b l]"""
        tokens = tokens.copy()
        for row, fate in enumerate(rng.random(len(tokens))):
            if fate < self.empty_share:
                tokens[row, 1:] = self.end
            elif fate < self.empty_share + self.unknown_share:
                tokens[row] = with_unknown_word(tokens[row], self.spoken, self.start, self.end, rng)
        return torch.from_numpy(tokens)
