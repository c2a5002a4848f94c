"""The miniature's tokenizer: a stock `CLIPTokenizer` whose every caption word is one token.

Byte-level BPE as in CLIP, so any text can be written; but the merges are ours, not counted from a corpus. A
word is put together from its end: `g</w>`, `og</w>`, `dog</w>`. Only the last piece of a word carries the end
mark, so at any time one merge at most applies, whatever their order. An unknown word stays in letters, save
that its ending is one token when a known word ends alike.

Sixteen words that no caption contains are tokens too: identifiers for subjects to come. Nobody trains them
before that.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

RARE = "sks zwx olis ktn qvx vlp wjz xqr fzk hjx plq ykv bxz drq mjw gvz".split()
END = "</w>"  # CLIP's mark on the last piece of a word


def pieces(word: str) -> list[str]:
    """The symbols a word starts from: one per byte, the last with the end mark, in the byte-level alphabet."""
    encoder = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    symbols = list(encoder.pre_tokenize_str(word)[0][0])
    return [*symbols[:-1], symbols[-1] + END]


def merges_for(words: list[str]) -> list[tuple[str, str]]:
    """Pairs to merge, so that each word becomes one token; endings shared by words come once."""
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        symbols = pieces(word)
        for place in range(len(symbols) - 2, -1, -1):
            merges[symbols[place], "".join(symbols[place + 1 :])] = None
    return sorted(merges, key=lambda pair: (len(pair[1]), pair))


def build(vocabulary: list[str], model_max_length: int = 32) -> CLIPTokenizer:
    """The tokenizer for these words and the rare ones.

    Args:
        vocabulary: lower-case words; hyphens and the like split them, as CLIP's pattern does.
        model_max_length: tokens in a prompt, with the two that mark start and end; longer prompts are cut.
    Raises:
        ValueError: a caption contains a rare word.
    """
    words = sorted({part for word in vocabulary for part in re.findall(r"[^\W\d_]+", word.lower())})
    if clash := set(words) & set(RARE):
        raise ValueError(f"{sorted(clash)} are reserved as rare tokens; choose others")
    merges = merges_for(words + RARE)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(symbol + END for symbol in alphabet), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=model_max_length)


def save(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the folder as `CLIPTokenizer.from_pretrained` opens it, with `vocab.json` and `merges.txt` for older readers."""
    tokenizer.save_pretrained(folder)
    tokenizer.backend_tokenizer.model.save(str(folder))
    config = folder / "tokenizer_config.json"
    values = {key: value for key, value in json.loads(config.read_text()).items() if "path" not in key}
    config.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def token_of(tokenizer: CLIPTokenizer, word: str) -> int:
    """The number of a word that is a single token.

    Raises:
        ValueError: it is several tokens.
    """
    numbers = tokenizer(word, add_special_tokens=False).input_ids
    if len(numbers) != 1:
        raise ValueError(f"{word!r} is {len(numbers)} tokens, not one")
    return int(numbers[0])
