"""What a language model is asked to write, and how its answer is found in the text that it wrote.

May import ``models``.
"""
