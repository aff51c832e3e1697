"""Clips longer than a motion module's: FreeNoise, FreeInit, prompts by frame, and NUWA-XL's tree of local jobs.

May import the rooms before the techniques, and no other technique.
"""
