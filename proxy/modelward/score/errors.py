"""What can be wrong with training data or a profile file."""


class ProfileError(ValueError):
    """The message says what is wrong, where, and how to mend it."""
