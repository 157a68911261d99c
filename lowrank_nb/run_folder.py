"""Shim until 43_run_folder lands."""
from .checkpoints import step_of, checkpoints, write_manifest, damage as find_damage, find_checkpoint, save_checkpoint, SaveError
