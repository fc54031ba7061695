"""Scripted judges: figures that say of a video what a person would see. Pure functions."""
