"""From a script to scenes and boxes, and from boxes to masks, hints and conditions that a model obeys."""
