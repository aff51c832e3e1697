"""Other people's workflows as ours: known nodes become nodes of the pack, and a report says how well.

In comes a workflow of ComfyUI as JSON, in API form or the editor's. Nothing runs, and no node is imported: nodes are
known by tables. May import ``errors`` and ``files``.
"""
