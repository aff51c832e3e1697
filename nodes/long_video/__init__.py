"""Clips longer than a motion module's: context windows, FreeNoise, FreeInit, prompts by frame, NUWA-XL."""
