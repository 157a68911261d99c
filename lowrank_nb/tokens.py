"""Shim until 31_tokens lands."""
from .data import load_tokenizer, encode, rows_of
