"""Shim until 32_token_cache lands."""
from .data import prepare, TokenSource
