"""Shim until 30_texts lands."""
from .data import TextSource, DataError, texts_of, embedded_texts, endpoint, ask_hub, EMBEDDED, ENDINGS
