"""Tune a language model on questions and answers. May import what ``training`` may."""
