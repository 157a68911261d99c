"""Shim until 46_trackers lands."""
from .reports import TRACKERS, pick_trackers, public_flags, Report as Tracker, closing_reports as closing_trackers
