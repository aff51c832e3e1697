"""Video noise, the demo model, decoding to a video, and figures of a video."""
