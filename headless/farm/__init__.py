"""The command that draws the clips of one Keyframed Video on several ComfyUI servers, by their HTTP API alone.

``split`` cuts the graph into prompts, ``server`` asks one server, ``kept`` has the finished clips, ``joined`` writes
the video, ``command`` puts them together: a crew of ``..crew``, each worker of which owns a server.
"""
