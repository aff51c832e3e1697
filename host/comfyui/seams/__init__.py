"""Where ComfyUI lets an edit in: a file a seam, by ComfyUI's own patches and wrappers, or hooks of a model call.

A file has ``PATCHES`` where ComfyUI has a place for its seam: ComfyUI's name of the place, and our function there; and
``begin`` where a patch needs more than the model call. It may import of the models: errors, network, video, edits;
never a technique.
"""
