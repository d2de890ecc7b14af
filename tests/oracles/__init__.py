"""Slow, literal second implementations that the project's code is tested against. They import none of it."""
