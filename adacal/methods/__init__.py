"""Conversion methods, one file each; importing `load_methods()` registers them all."""

from adacal.methods.base import METHODS, Calibration, Card, Method, load_methods

__all__ = ["METHODS", "Calibration", "Card", "Method", "load_methods"]
