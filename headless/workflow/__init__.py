"""A workflow in API form: found, read, checked whole, given settings, and run node by node.

May import ``v3`` and ``host``.
"""
