"""Where diffusers' networks let an edit in: a file a seam, each with hooks that ask what acts in the model call.

A file's ``put_on`` yields the handle of each hook right after it is on. It may import of the models: errors, network,
video, edits; never a technique.
"""
