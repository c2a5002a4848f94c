"""The miniature's tokenizer: whole words, rare words, strangers."""

import pytest
from transformers import CLIPTokenizer

from tasks.pretrain import tokenizer as tokenizers
from tasks.toyworld.captions import full_vocabulary


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """Written and opened again by the stock class."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizers.save(tokenizers.build(full_vocabulary()), folder)
    return CLIPTokenizer.from_pretrained(folder)


def test_each_word_is_one_token_of_its_own(stock):
    words = full_vocabulary() + tokenizers.RARE
    numbers = [tokenizers.token_of(stock, word) for word in words]
    assert len(set(numbers)) == len(words) > 100
    assert stock.decode(numbers) == " ".join(words).encode().decode()


def test_no_caption_word_is_rare():
    assert not set(full_vocabulary()) & set(tokenizers.RARE)
    with pytest.raises(ValueError, match="sks"):
        tokenizers.build(["dog", "sks"])


def test_unknown_words_fall_apart(stock):
    assert stock.tokenize("quiz") == ["q", "u", "i", "z</w>"]
    assert stock.tokenize("a frog!")[0] == "a</w>" and len(stock.tokenize("frog")) == 3  # its end is dog's
    with pytest.raises(ValueError, match="4 tokens"):
        tokenizers.token_of(stock, "quiz")


def test_case_hyphens_and_other_scripts_are_read(stock):
    assert stock.tokenize("Red DOG") == stock.tokenize("red dog")
    assert "dog</w>" in stock.tokenize("sks-dog, 3")
    assert stock.unk_token_id not in stock("猫 ñandú", add_special_tokens=False).input_ids


def test_prompts_are_padded_and_cut_to_the_model_length(stock):
    for prompt in ("", "a dog", "a red dog " * 40):
        numbers = stock(prompt, padding="max_length", truncation=True).input_ids
        assert len(numbers) == stock.model_max_length == 32
        assert numbers[0] == stock.bos_token_id and numbers[-1] == stock.eos_token_id


def test_files_hold_no_path_of_this_machine(tmp_path):
    tokenizers.save(tokenizers.build(["dog"]), tmp_path)
    assert {"vocab.json", "merges.txt", "tokenizer_config.json"} <= {path.name for path in tmp_path.iterdir()}
    assert str(tmp_path) not in (tmp_path / "tokenizer_config.json").read_text()
