"""Texts as records: tokenizers with exact inverses, files of lines, and token ids."""
