"""LORO, CoLA and LoST: language models that are low-rank from the first step of pre-training."""
__version__ = "0.0.1"
