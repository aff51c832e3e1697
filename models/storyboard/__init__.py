"""A script as data: scenes, boxes, keypoints; and from them masks, hints for ControlNets, and phrases in prompts.

In comes what is true of a storyboard whatever model reads it. May import the rooms before it.
"""
