"""From a stranger's files to clean pictures: sources, decoding, judgement, crops."""
