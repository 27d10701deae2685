"""Text to tokens: vocabularies, tokenizers and their files, windows over long sentences. No TensorFlow."""
