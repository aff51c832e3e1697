"""AnimateDiff: motion modules in a frozen UNet, their files of every layout, motion LoRAs, and mask adapters.

May import the rooms before the techniques, and no other technique.
"""
