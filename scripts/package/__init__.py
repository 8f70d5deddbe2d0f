"""The wheel and the root of the image: what is in them, and that it is what it should be. Not part of the package.

Runs where wheels are built, also in the containers of cibuildwheel: it imports nothing but the standard library.
"""

from pathlib import Path

ROOT = Path(__file__).parents[2]
