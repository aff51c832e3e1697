"""AnimateDiff: motion modules in a frozen UNet, their files of every layout, motion LoRAs, mask adapters, PIA adapters.

May import the rooms before the techniques, and no other technique.
"""
