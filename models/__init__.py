"""The pack's ideas as pure torch: functions and modules over tensors, with no host, no file look-up, no global state.

Rooms, in the order in which they build on each other; a room may import those before it: ``errors``, ``network``,
``files``, ``convert`` and ``video``, ``edits``, ``storyboard``; then the techniques ``motion``, ``zero_shot``,
``layout``, ``long_video``, ``layout_prior``, which never import each other; last ``training``, the forward pass that
learns.
"""
