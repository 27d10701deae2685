"""The files of a tokenizer: Google's `vocab.txt` and what Hugging Face's libraries keep beside it."""
